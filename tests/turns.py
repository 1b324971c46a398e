"""Turns on their way, and what an engine's logits must be like while they last."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from random import Random
from types import SimpleNamespace

import numpy as np
import torch
from hypothesis import strategies as st

from actors.engine_spec import EngineSpec, pack_boundaries
from tandem.rollout import JUNIOR, SENIOR
from tandem.schedule import Pen, Schedule, TurnStart

VOCABULARY = 12
SENTINEL = 9
BOUNDARIES = np.array([0, 2, 1, 0, 0, 1, 0, 3, 0, 0, 2, 0], np.uint8)
TOKENS = [token for token in range(VOCABULARY) if token != SENTINEL]
SLOTS = 6

authors = st.sampled_from([SENIOR, JUNIOR])
randoms = st.integers(0, 2**32 - 1).map(Random)


@dataclass
class Turn:
    """A turn on its way: where it started, what it has written, and the pen that says what must come next."""

    start: TurnStart
    pen: Pen
    written: list[int] = field(default_factory=list)

    def write(self, token: int) -> None:
        self.written.append(token)
        self.pen.wrote(token)


def new_turn(random: Random, author: int) -> Turn:
    """A turn of `author` somewhere in a rollout."""
    while True:
        schedule = Schedule(random.random(), random.randint(1, 12), random.random() < 0.2, random.randint(0, 3))
        pen = Pen(schedule, BOUNDARIES, random.getrandbits(32))
        for _ in range(random.randint(0, 30)):
            pen.wrote(random.choice(TOKENS))
        if pen.author == author:
            return Turn(TurnStart.at(pen), copy.copy(pen))


def check_forced(forced: torch.Tensor, logits: torch.Tensor, turns: list[Turn | None], author: int) -> None:
    """Only the sentinel is left where the pen has passed; elsewhere everything but it is as it was."""
    others = torch.arange(VOCABULARY) != SENTINEL
    for row, turn in enumerate(turns):
        if turn is not None and turn.pen.author != author:
            assert torch.isfinite(forced[row, SENTINEL])
            assert torch.isinf(forced[row, others]).all()
        else:
            assert forced[row, SENTINEL] == -torch.inf
            assert torch.equal(forced[row, others], logits[row, others])


def spec(author: int) -> EngineSpec:
    return EngineSpec(
        author=author,
        model="model",
        dtype="float32",
        seed=1,
        max_model_len=128,
        max_num_seqs=SLOTS,
        sentinel=SENTINEL,
        eos_ids=(1, 2),
        packed_boundaries=pack_boundaries(BOUNDARIES),
        vocabulary=VOCABULARY,
        cores=(0, 1),
    )


def vllm_config(author: int) -> SimpleNamespace:
    """What the processor reads of vLLM's configuration."""
    return SimpleNamespace(additional_config=spec(author).carried(), scheduler_config=SimpleNamespace(max_num_seqs=SLOTS))
