"""The named schedules: what each promises, replayed over random texts."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.config.rollout import ScheduleConfig
from tandem.config.schema import Config
from tandem.rollout import JUNIOR, SENIOR
from tandem.schedule import (
    BEGINS_WORD,
    ENDS_STEP,
    SCHEDULES,
    annealed_prob_senior,
    boundary_rule,
    named_schedule,
    needs_junior,
    replay,
    schedule_at,
)

VOCABULARY = 10
BOUNDARIES = {"none": np.zeros(VOCABULARY, np.uint8), "word": np.array([0] * 6 + [1] * 4, np.uint8)}
BOUNDARIES["step"] = np.array([0] * 9 + [1], np.uint8)
TABLE = BEGINS_WORD * BOUNDARIES["word"] + ENDS_STEP * BOUNDARIES["step"]

names = st.sampled_from(sorted(SCHEDULES))
texts = st.lists(st.integers(0, VOCABULARY - 1), min_size=2, max_size=150)
seeds = st.integers(0, 2**32 - 1)


def mask(name: str, config: ScheduleConfig, seed: int, tokens: list[int]) -> list[int]:
    schedule = named_schedule(replace(config, name=name))
    return replay(schedule, TABLE, seed, tokens).authorship.tolist()


@given(name=names, seed=seeds, tokens=texts, chunk=st.integers(1, 20), gap=st.integers(1, 40), alternates=st.booleans())
def test_the_pen_changes_hands_only_where_the_schedule_says(
    name: str, seed: int, tokens: list[int], chunk: int, gap: int, alternates: bool
) -> None:
    config = ScheduleConfig(max_gap_tokens=gap, chunk_tokens=chunk, alternates=alternates)
    written = mask(name, config, seed, tokens)
    changes = [i for i in range(1, len(written)) if written[i] != written[i - 1]]
    boundaries = BOUNDARIES[SCHEDULES[name].boundary]
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


@given(tokens=texts, seed=seeds, chunk=st.integers(1, 9))
def test_strict_alternation_passes_the_pen_every_time(tokens: list[int], seed: int, chunk: int) -> None:
    config = ScheduleConfig(chunk_tokens=chunk, alternates=True)
    assert mask("chunk", config, seed, tokens) == [SENIOR if i // chunk % 2 == 0 else JUNIOR for i in range(len(tokens))]
    steps = np.cumsum([0, *(BOUNDARIES["step"][token] for token in tokens[:-1])])
    assert mask("step", config, seed, tokens) == [SENIOR if step % 2 == 0 else JUNIOR for step in steps]


@pytest.mark.parametrize(("name", "redraws"), [("word", 0.4), ("token", 1.0), ("step", 0.1), ("chunk", 1 / 8)])
@pytest.mark.parametrize("prob", [0.3, 0.5])
def test_shares_and_turn_lengths_are_as_expected(name: str, redraws: float, prob: float) -> None:
    rng = np.random.default_rng(1)
    masks = np.array(
        [mask(name, ScheduleConfig(prob_senior=prob), s, rng.integers(0, VOCABULARY, 400).tolist()) for s in range(100)]
    )
    draws = masks.size * redraws
    assert abs(masks.mean() - prob) < 6 * math.sqrt(prob * (1 - prob) / draws)
    handoffs = np.count_nonzero(np.diff(masks, axis=1))
    assert handoffs == pytest.approx(draws * 2 * prob * (1 - prob), rel=0.1)


def test_annealing_goes_from_the_first_step_to_the_last() -> None:
    config = ScheduleConfig(prob_senior=0.2, prob_senior_end=0.8)
    assert annealed_prob_senior(config, 30, 60) == 0.2
    for anneal in ("linear", "cosine"):
        chances = [annealed_prob_senior(replace(config, anneal=anneal), step, 61) for step in range(1, 62)]
        assert chances[0] == pytest.approx(0.2) and chances[30] == pytest.approx(0.5) and chances[-1] == pytest.approx(0.8)
        assert chances == sorted(chances)
    assert annealed_prob_senior(replace(config, anneal="linear"), 1, 1) == 0.2


def test_only_a_senior_who_never_hands_over_needs_no_junior() -> None:
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


def test_boundaries_are_the_models() -> None:
    config = Config()
    config.model.word_boundary, config.model.step_boundary = "word_or_newline", "newline"
    rules = {}
    for name in SCHEDULES:
        config.schedule.name = name
        rules[name] = boundary_rule(config, config.schedule)
    assert rules == {
        "word": "word_or_newline",
        "alternate": "word_or_newline",
        "step": "newline",
        "token": "none",
        "chunk": "none",
        "solo": "none",
    }
