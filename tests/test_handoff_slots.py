"""The handoff rule in vLLM's request slots, driven as Model Runner V2 drives it, on CPU tensors."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from types import SimpleNamespace

import numpy as np
import torch
from hypothesis import given, settings
from turns import SENTINEL, SLOTS, TOKENS, VOCABULARY, Turn, authors, check_forced, new_turn, randoms, vllm_config
from vllm import SamplingParams

from actors.carried_turn import carrying
from actors.handoff_slot_processor import HandoffSlotProcessor

LENGTH = 64


@dataclass
class Request:
    """A request with its text: `prompt` tokens and what it has written since."""

    turn: Turn | None
    prompt: list[int]
    output: list[int] = field(default_factory=list)
    read: int = 0
    """tokens that the model has read since the request entered"""
    prefill: int = 0
    """tokens it entered with"""

    @property
    def text(self) -> list[int]:
        return self.prompt + self.output


class Slots:
    """The model runner's state by request slot, as the processor sees it."""

    def __init__(self) -> None:
        self.device, self.max_num_reqs, self.vocab_size = torch.device("cpu"), SLOTS, VOCABULARY
        self.all_token_ids = SimpleNamespace(gpu=torch.zeros(SLOTS, LENGTH, dtype=torch.int32))
        self.prompt_len, self.prefill_len = self._lengths(), self._lengths()

    @staticmethod
    def _lengths() -> SimpleNamespace:
        lengths = np.zeros(SLOTS, np.int32)
        return SimpleNamespace(np=lengths, gpu=torch.from_numpy(lengths))

    def enter(self, slot: int, request: Request) -> None:
        text = request.text
        request.read, request.prefill = 0, len(text)
        self.prompt_len.np[slot], self.prefill_len.np[slot] = len(request.prompt), len(text)
        self.all_token_ids.gpu[slot, : len(text)] = torch.tensor(text, dtype=torch.int32)


@settings(max_examples=80)
@given(author=authors, random=randoms)
def test_the_processor_follows_vllms_slots(author: int, random: Random) -> None:
    slots = Slots()
    processor = HandoffSlotProcessor(vllm_config(author), slots)
    running: dict[int, Request] = {}
    preempted: list[Request] = []
    for _ in range(40):
        for slot in [slot for slot, request in running.items() if SENTINEL in request.output or len(request.text) > LENGTH - 2]:
            del running[slot]
        for slot in [slot for slot in running if random.random() < 0.1]:
            preempted.append(running.pop(slot))
        for slot in set(range(SLOTS)) - set(running):
            if random.random() < 0.5:
                continue
            if preempted and random.random() < 0.7:
                request = preempted.pop(random.randrange(len(preempted)))
            else:
                turn = new_turn(random, author) if random.random() < 0.8 else None
                request = Request(turn, random.choices(TOKENS, k=random.randint(1, 6)))
            running[slot] = request
            slots.enter(slot, request)
            extra = carrying(request.turn.start) if request.turn else None
            assert processor.add_request(slot, SamplingParams(extra_args=extra))
        processor.apply_staged_writes()

        order = random.sample(sorted(running), random.randint(0, len(running)))
        for slot in order:
            # A prefill may be cut into chunks; what is sampled at the end of one that is not the last does not count.
            request = running[slot]
            request.read = (
                min(len(request.text), request.read + random.randint(1, 4))
                if request.read < request.prefill
                else len(request.text)
            )
        if not order:
            continue
        last = [running[slot].read - 1 for slot in order]
        context = SimpleNamespace(
            expanded_idx_mapping=torch.tensor(order, dtype=torch.int32),
            input_ids=torch.tensor([running[slot].text[at] for slot, at in zip(order, last, strict=True)], dtype=torch.int32),
            pos=torch.tensor(last, dtype=torch.int64),
        )
        logits = torch.randn(len(order), VOCABULARY)
        forced = processor.apply(logits.clone(), context)
        counts = [row for row, slot in enumerate(order) if running[slot].read == len(running[slot].text)]
        check_forced(forced[counts], logits[counts], [running[order[row]].turn for row in counts], author)
        for row in counts:
            request = running[order[row]]
            if request.turn is not None and request.turn.pen.author != author:
                request.output.append(SENTINEL)
                continue
            request.output.append(random.choice(TOKENS))
            if request.turn is not None:
                request.turn.write(request.output[-1])
