"""How an engine follows the schedule while it writes: the batch state, and its vLLM adapter in vLLM's own input batch."""

from __future__ import annotations

import copy
from dataclasses import replace
from random import Random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from turns import (
    BOUNDARIES,
    SENTINEL,
    SLOTS,
    TOKENS,
    VOCABULARY,
    Turn,
    authors,
    check_forced,
    new_turn,
    randoms,
    spec,
    vllm_config,
)
from vllm import SamplingParams
from vllm.v1.sample.logits_processor import LogitsProcessors
from vllm.v1.worker.gpu_input_batch import CachedRequestState, InputBatch

from actors.carried_turn import carrying
from actors.engine_spec import EngineSpec, pack_boundaries
from actors.handoff_processor import HandoffProcessor
from tandem.handoff import HandoffBatch
from tandem.rollout import JUNIOR, SENIOR
from tandem.schedule import Pen, Schedule, TurnStart

# The batch state


@given(author=authors, random=randoms)
def test_the_batch_follows_the_pen_through_every_change_of_rows(author: int, random: Random) -> None:
    batch = HandoffBatch(torch.from_numpy(BOUNDARIES).long(), author=author, sentinel=SENTINEL, rows=SLOTS)
    rows: list[Turn | None] = [None] * SLOTS

    def enter(row: int) -> None:
        rows[row] = turn = new_turn(random, author)
        batch.admit(row, turn.start)

    def leave(row: int) -> None:
        rows[row] = None
        batch.admit(row, None)

    def preempted_and_back(row: int) -> None:
        if (turn := rows[row]) is not None:
            batch.admit(row, None)
            batch.admit(row, turn.start, turn.written)

    def swap(row: int) -> None:
        other = random.randrange(SLOTS)
        rows[row], rows[other] = rows[other], rows[row]
        batch.swap(row, other)

    def move(row: int) -> None:
        target = random.randrange(SLOTS)
        rows[target] = copy.deepcopy(rows[row])
        batch.move(row, target)

    for _ in range(40):
        random.choice([enter, enter, leave, preempted_and_back, swap, move])(random.randrange(SLOTS))
        logits = torch.randn(random.randint(1, SLOTS), VOCABULARY)
        check_forced(batch.force(logits.clone()), logits, rows[: len(logits)], author)
        writing = [row for row, turn in enumerate(rows) if turn is not None and turn.pen.author == author]
        tokens = [random.choice(TOKENS) for _ in writing]
        for row, token in zip(writing, tokens, strict=True):
            rows[row].write(token)
        batch.advance(writing, tokens)


# The adapter to vLLM


def input_batch(processor: HandoffProcessor) -> InputBatch:
    """The batch of vLLM's model runner."""
    return InputBatch(
        max_num_reqs=SLOTS,
        max_model_len=128,
        max_num_batched_tokens=SLOTS * 128,
        device=torch.device("cpu"),
        vocab_size=VOCABULARY,
        block_sizes=[16],
        max_num_blocks_per_req=[8],
        logitsprocs=LogitsProcessors([processor]),
    )


def request(name: str, turn: Turn | None, output: list[int]) -> CachedRequestState:
    """A request that carries `turn` (or none), as the model runner keeps it."""
    return CachedRequestState(
        req_id=name,
        prompt_token_ids=[0, 3],
        mm_features=[],
        sampling_params=SamplingParams(extra_args=carrying(turn.start) if turn else None),
        generator=None,
        block_ids=([0],),
        num_computed_tokens=0,
        output_token_ids=output,
    )


@settings(max_examples=60)
@given(author=authors, random=randoms)
def test_the_processor_follows_vllms_batch(author: int, random: Random) -> None:
    processor = HandoffProcessor(vllm_config(author), torch.device("cpu"), False)
    batch = input_batch(processor)
    turns: dict[str, Turn | None] = {}
    outputs: dict[str, list[int]] = {}
    over: set[str] = set()
    waiting: list[str] = []
    for step in range(25):
        # The order of a step in vLLM: what ended or is preempted leaves, what is scheduled enters, gaps are closed.
        leaving = {name for name in batch.req_ids if name in over or random.random() < 0.15}
        for name in leaving:
            batch.remove_request(name)
        waiting += sorted(leaving - over)
        if random.random() < 0.7:
            waiting.append(f"request {step}")
            turns[waiting[-1]], outputs[waiting[-1]] = new_turn(random, author) if random.random() < 0.8 else None, []
        random.shuffle(waiting)
        while waiting and batch.num_reqs < SLOTS and random.random() < 0.8:
            name = waiting.pop()
            outputs[name] = list(outputs[name])
            batch.add_request(request(name, turns[name], outputs[name]))
        batch.condense()
        if batch.num_reqs >= 2 and random.random() < 0.4:
            batch.swap_states(*random.sample(range(batch.num_reqs), 2))
        batch.refresh_metadata()

        names = list(batch.req_ids)
        logits = torch.randn(len(names), VOCABULARY)
        check_forced(processor.apply(logits.clone()), logits, [turns[name] for name in names], author)
        for name in names:
            turn = turns[name]
            if turn is not None and turn.pen.author != author:
                outputs[name].append(SENTINEL)
                over.add(name)
            else:
                outputs[name].append(random.choice(TOKENS))
                if turn is not None:
                    turn.write(outputs[name][-1])


def test_the_sentinel_counts_under_greedy_decoding_too() -> None:
    assert not HandoffProcessor(vllm_config(SENIOR), torch.device("cpu"), False).is_argmax_invariant()


def test_a_request_must_carry_a_whole_turn() -> None:
    pen = Pen(Schedule(), BOUNDARIES, seed=3)
    HandoffProcessor.validate_params(SamplingParams())
    HandoffProcessor.validate_params(SamplingParams(extra_args=carrying(TurnStart.at(pen))))
    with pytest.raises(ValueError, match="extra_args\\['turn'\\] must hold"):
        HandoffProcessor.validate_params(SamplingParams(extra_args={"turn": [1, 2]}))


def test_the_spec_reaches_the_engines_processes_whole() -> None:
    assert EngineSpec.of(vllm_config(JUNIOR)) == spec(JUNIOR)
    with pytest.raises(KeyError):
        EngineSpec.of(SimpleNamespace(additional_config={}))


@given(table=st.lists(st.integers(0, 3), min_size=1, max_size=100))
def test_packed_boundaries_are_the_table(table: list[int]) -> None:
    packed = replace(spec(SENIOR), packed_boundaries=pack_boundaries(np.array(table)), vocabulary=len(table))
    assert packed.boundaries().tolist() == table
