"""Tests of the schedule: coins and redraws."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.replay import replay
from tandem.rollout import JUNIOR, SENIOR
from tandem.schedule import (
    BEGINS_WORD,
    COIN_SIDES,
    ENDS_STEP,
    STEP,
    WHOLE_TEXT,
    Schedule,
    coin,
    coins,
)

VOCABULARY = 8
WORDS = np.array([0, 0, 0, 0, 0, 0, 1, 1], np.uint8)
"""The last two of 8 tokens begin a word."""

seeds = st.integers(0, 2**32 - 1)
texts = st.lists(st.integers(0, VOCABULARY - 1), min_size=1, max_size=120)
schedules = st.builds(
    Schedule,
    prob_senior=st.floats(0, 1),
    max_gap_tokens=st.integers(1, 20),
    alternates=st.booleans(),
    boundary=st.sampled_from([0, BEGINS_WORD]),
)
any_schedules = st.builds(
    Schedule,
    prob_senior=st.sampled_from([0.0, 0.5, 1.0]) | st.floats(0, 1),
    max_gap_tokens=st.sampled_from([1, 2, 3, 7, 32, WHOLE_TEXT]),
    alternates=st.booleans(),
    boundary=st.sampled_from([0, BEGINS_WORD, STEP]),
)
"""All kinds of rules, also those that no named schedule has."""


def share_and_error(prob: float, draws: int) -> tuple[float, float]:
    """Return the expected share and four of its standard errors."""
    return prob, 4 * math.sqrt(prob * (1 - prob) / draws)


# The coin


def test_coins_are_uniform_and_independent() -> None:
    coins = np.array([[coin(seed, position) for position in range(256)] for seed in range(256)]) / COIN_SIDES
    counts, _ = np.histogram(coins, bins=16, range=(0, 1))
    expected = coins.size / 16
    chi_squared = ((counts - expected) ** 2 / expected).sum()
    assert chi_squared < 38, "the 99.9 % point for 15 degrees of freedom is 37.7"
    centered = coins - coins.mean()
    for neighbors in (centered[1:] * centered[:-1], centered[:, 1:] * centered[:, :-1]):
        correlation = neighbors.mean() / centered.var()
        assert abs(correlation) < 4 / math.sqrt(coins.size)


def test_coin_values_are_stable() -> None:
    """Saved rollouts are replayed later, so the coin is part of their format."""
    assert [coin(seed, position) for seed, position in ((0, 0), (0, 1), (1, 0), (2**32 - 1, 4000))] == [
        0,
        2261973619,
        3405691463,
        3797270689,
    ]


# The rule


@given(schedule=schedules, seed=seeds, tokens=texts)
def test_author_is_redrawn_only_at_boundaries_and_after_long_gaps(schedule: Schedule, seed: int, tokens: list[int]) -> None:
    mask, drawn = replay(schedule, WORDS, seed, tokens)
    last = 0
    assert drawn[0] and mask[0] == (schedule.alternates or coin(seed, 0) < schedule.threshold)
    for position in range(1, len(tokens)):
        boundary = WORDS[tokens[position - 1]] and schedule.boundary
        assert drawn[position] == bool(boundary or position - last == schedule.max_gap_tokens)
        if not drawn[position]:
            assert mask[position] == mask[position - 1]
            continue
        last = position
        if schedule.alternates:
            assert mask[position] != mask[position - 1]
        else:
            assert mask[position] == (coin(seed, position) < schedule.threshold)


@given(schedule=schedules, seed=seeds, tokens=texts, cut=st.integers(0, 120))
def test_later_tokens_do_not_change_earlier_authors(schedule: Schedule, seed: int, tokens: list[int], cut: int) -> None:
    whole = replay(schedule, WORDS, seed, tokens).authorship
    assert replay(schedule, WORDS, seed, tokens[:cut]).authorship.tolist() == whole[:cut].tolist()


@given(schedule=schedules, seed=seeds, tokens=texts)
def test_each_pen_determines_authors_of_all_later_tokens(schedule: Schedule, seed: int, tokens: list[int]) -> None:
    mask = replay(schedule, WORDS, seed, tokens).authorship.tolist()
    pen = schedule.pen(seed)
    for position, token in enumerate(tokens):
        assert (pen.position, pen.author) == (position, mask[position])
        later, before = pen, tuple(pen)
        for after, following in enumerate(tokens[position:], start=position):
            assert later.author == mask[after]
            later = later.after(WORDS[following])
        assert pen == before
        pen = pen.after(WORDS[token])


@given(schedule=schedules, seed=seeds, tokens=texts, breaks=st.lists(st.none() | st.booleans(), min_size=120, max_size=120))
def test_pen_over_tokens_is_pen_after_each(schedule: Schedule, seed: int, tokens: list[int], breaks: list[bool | None]) -> None:
    pen, boundaries = schedule.pen(seed), [int(WORDS[token]) for token in tokens]
    after, authors = pen, []
    for boundary, broken in zip(boundaries, breaks, strict=False):
        authors.append(after.author)
        after = after.after(boundary, broken)
    assert pen.over(boundaries, breaks[: len(tokens)]) == (after, bytes(authors))


@given(
    schedule=any_schedules,
    seed=seeds,
    table=st.lists(st.integers(0, 15), min_size=VOCABULARY, max_size=VOCABULARY),
    tokens=texts | st.just([]),
    breaks=st.none() | st.lists(st.booleans(), min_size=120, max_size=120),
)
def test_replay_is_pen_after_every_token(
    schedule: Schedule, seed: int, table: list[int], tokens: list[int], breaks: list[bool] | None
) -> None:
    pen, mask, drawn = schedule.pen(seed), [], []
    for position, token in enumerate(tokens):
        mask.append(pen.author)
        drawn.append(pen.gap == 0)
        pen = pen.after(table[token], (breaks[position] or (None if pen.author == SENIOR else False)) if breaks else None)
    broken = None if breaks is None else breaks[: len(tokens)]
    implied = replay(schedule, np.array(table, np.uint8), seed, tokens, broken)
    assert (implied.authorship.tolist(), implied.drawn.tolist()) == (mask, drawn)


@given(seed=st.integers(0, 2**40), positions=st.lists(st.integers(0, 2**32 - 1), min_size=1))
def test_coins_of_array_are_coins_of_its_positions(seed: int, positions: list[int]) -> None:
    assert coins(seed, np.array(positions, np.uint32)).tolist() == [coin(seed, position) for position in positions]


@given(seed=seeds, tokens=texts)
def test_prob_senior_of_0_or_1_gives_one_author(seed: int, tokens: list[int]) -> None:
    assert replay(Schedule(1.0), WORDS, seed, tokens).authorship.tolist() == [SENIOR] * len(tokens)
    assert replay(Schedule(0.0), WORDS, seed, tokens).authorship.tolist() == [JUNIOR] * len(tokens)


def test_only_prob_senior_1_is_solo() -> None:
    assert Schedule(1.0).solo
    assert not Schedule(0.0).solo and not Schedule(0.999).solo


@pytest.mark.parametrize(("boundary", "table"), [(BEGINS_WORD, 0 * WORDS), (0, WORDS), (ENDS_STEP, WORDS)])
def test_no_handoff_without_boundaries_and_gaps(boundary: int, table: np.ndarray) -> None:
    masks = [replay(Schedule(0.5, 1_000, boundary=boundary), table, seed, range(VOCABULARY)).authorship for seed in range(64)]
    assert all(len(set(mask.tolist())) == 1 for mask in masks)
    assert {int(mask[0]) for mask in masks} == {SENIOR, JUNIOR}


@pytest.mark.parametrize("prob", [0.1, 0.5, 0.8])
def test_share_of_senior_is_prob_senior(prob: float) -> None:
    rng = np.random.default_rng(0)
    masks = [replay(Schedule(prob, 32), WORDS, seed, rng.integers(0, VOCABULARY, 100)).authorship for seed in range(400)]
    first = np.array([mask[0] for mask in masks])
    expected, error = share_and_error(prob, len(first))
    assert abs(first.mean() - expected) < error
    # One token in four begins a word, so 100 tokens have 25 redraws; turns of unequal length halve their effective number.
    expected, error = share_and_error(prob, 400 * 25 // 2)
    assert abs(np.concatenate(masks).mean() - expected) < error
