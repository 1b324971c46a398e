"""Tests of the named schedules, and of the annealing of the probability."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.config.rollout import ScheduleConfig
from tandem.config.schema import Config
from tandem.replay import replay
from tandem.rollout import JUNIOR, SENIOR
from tandem.schedule import (
    BEGINS_WORD,
    ENDS_STEP,
    SCHEDULES,
    annealed_prob_senior,
    needs_junior,
    schedule_at,
    unannealed_schedule,
)

seeds = st.integers(0, 2**32 - 1)
NAMED_VOCABULARY = 10
MARKS = {
    "none": np.zeros(NAMED_VOCABULARY, np.uint8),
    "word": np.array([0] * 6 + [1] * 4, np.uint8),
    "step": np.array([0] * 9 + [1], np.uint8),
}
NAMED_TABLE = BEGINS_WORD * MARKS["word"] + ENDS_STEP * MARKS["step"]

named_texts = st.lists(st.integers(0, NAMED_VOCABULARY - 1), min_size=2, max_size=150)


def named_mask(name: str, config: ScheduleConfig, seed: int, tokens: list[int]) -> list[int]:
    schedule = unannealed_schedule(replace(config, name=name))
    return replay(schedule, NAMED_TABLE, seed, tokens).authorship.tolist()


@given(
    name=st.sampled_from(sorted(SCHEDULES)),
    seed=seeds,
    tokens=named_texts,
    chunk=st.integers(1, 20),
    gap=st.integers(1, 40),
    alternates=st.booleans(),
)
def test_handoffs_occur_only_where_schedule_allows(
    name: str, seed: int, tokens: list[int], chunk: int, gap: int, alternates: bool
) -> None:
    config = ScheduleConfig(max_gap_tokens=gap, chunk_tokens=chunk, alternates=alternates)
    written = named_mask(name, config, seed, tokens)
    changes = [i for i in range(1, len(written)) if written[i] != written[i - 1]]
    boundaries = MARKS[SCHEDULES[name].boundary]
    last = 0
    for i in range(1, len(tokens)):
        due = boundaries[tokens[i - 1]] or i - last >= {"token": 1, "chunk": chunk, "word": gap, "alternate": gap}.get(
            name, 1 << 30
        )
        if not due:
            assert i not in changes
        last = i if due else last
    if name == "solo":
        assert set(written) == {SENIOR}
    if name == "alternate" or (alternates and name in ("step", "chunk")):
        assert written[0] == SENIOR


@given(tokens=named_texts, seed=seeds, chunk=st.integers(1, 9))
def test_strict_alternation_hands_over_at_every_boundary(tokens: list[int], seed: int, chunk: int) -> None:
    config = ScheduleConfig(chunk_tokens=chunk, alternates=True)
    assert named_mask("chunk", config, seed, tokens) == [SENIOR if i // chunk % 2 == 0 else JUNIOR for i in range(len(tokens))]
    steps = np.cumsum([0, *(MARKS["step"][token] for token in tokens[:-1])])
    assert named_mask("step", config, seed, tokens) == [SENIOR if step % 2 == 0 else JUNIOR for step in steps]


@pytest.mark.parametrize(("name", "redraws"), [("word", 0.4), ("token", 1.0), ("step", 0.1), ("chunk", 1 / 8)])
@pytest.mark.parametrize("prob", [0.3, 0.5])
def test_shares_and_turn_lengths_are_as_expected(name: str, redraws: float, prob: float) -> None:
    rng = np.random.default_rng(1)
    masks = np.array(
        [
            named_mask(name, ScheduleConfig(prob_senior=prob), s, rng.integers(0, NAMED_VOCABULARY, 400).tolist())
            for s in range(100)
        ]
    )
    draws = masks.size * redraws
    assert abs(masks.mean() - prob) < 6 * math.sqrt(prob * (1 - prob) / draws)
    handoffs = np.count_nonzero(np.diff(masks, axis=1))
    assert handoffs == pytest.approx(draws * 2 * prob * (1 - prob), rel=0.1)


def test_annealing_spans_first_to_last_step() -> None:
    config = ScheduleConfig(prob_senior=0.2, prob_senior_end=0.8)
    assert annealed_prob_senior(config, 30, 60) == 0.2
    for anneal in ("linear", "cosine"):
        chances = [annealed_prob_senior(replace(config, anneal=anneal), step, 61) for step in range(1, 62)]
        assert chances[0] == pytest.approx(0.2) and chances[30] == pytest.approx(0.5) and chances[-1] == pytest.approx(0.8)
        assert chances == sorted(chances)
    assert annealed_prob_senior(replace(config, anneal="linear"), 1, 1) == 0.2


def test_only_solo_schedules_need_no_junior() -> None:
    config = Config()
    assert needs_junior(config)
    config.schedule = ScheduleConfig(name="solo")
    assert not needs_junior(config) and schedule_at(config, 1).solo
    config.schedule = ScheduleConfig(prob_senior=1.0)
    assert not needs_junior(config)
    config.schedule = ScheduleConfig(prob_senior=1.0, prob_senior_end=0.5, anneal="linear")
    assert needs_junior(config)
    config.schedule = ScheduleConfig(name="alternate", prob_senior=1.0)
    assert needs_junior(config)
    config.junior = ["openai:http://host/v1,small"]
    assert not needs_junior(config)
