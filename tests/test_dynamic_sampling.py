"""Which groups a step learns from, and what being overlong costs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from random_rollouts import random_groups

from tandem.dynamic_sampling import is_uniform, sample
from tandem.objective.overlong import overlong_punishment, punish_overlong
from tandem.rollout import Group


def group(uniform: bool) -> Group:
    (made,) = random_groups(0, groups=1, size=2)
    made.rewards = np.array([1, 1 if uniform else 0], np.float32)
    return made


@given(st.lists(st.booleans(), min_size=60, max_size=60), st.integers(1, 6), st.integers(0, 4), st.integers(0, 2))
def test_uniform_groups_are_replaced_as_long_as_the_rounds_last(
    stream: list[bool], wanted: int, rounds: int, late: int
) -> None:
    """`late` of the first groups miss their deadline."""
    come = iter([group(uniform) for uniform in stream])
    asked: list[int] = []

    def judged(count: int) -> list[Group]:
        asked.append(count)
        return [next(come) for _ in range(count if len(asked) > 1 else max(count - late, 0))]

    rejected: list[int] = []
    taken, learnt = sample(judged, rejected.append, wanted, rounds)
    assert asked == [wanted, *rejected] and len(rejected) <= rounds
    places = [next(i for i, each in enumerate(taken) if each is kept) for kept in learnt]
    assert places == sorted(set(places)), "each once, in order"
    if not rounds:
        assert learnt == taken
    mixed = [each for each in taken if not is_uniform(each)]
    assert all(any(each is kept for kept in learnt) for each in mixed)
    assert len(learnt) == min(wanted, len(taken))
    if len(mixed) < wanted:
        assert len(rejected) == rounds, "it gave up before the rounds were over"


def test_a_full_step_asks_once() -> None:
    asked = []

    def judged(count: int) -> list[Group]:
        asked.append(count)
        return [group(uniform=False) for _ in range(count)]

    assert len(sample(judged, pytest.fail, 4, 3)[1]) == 4 and asked == [4]


@given(st.integers(2, 200), st.data())
def test_the_punishment_is_daposs(max_tokens: int, data: st.DataObject) -> None:
    buffer = data.draw(st.integers(1, max_tokens))
    lengths = np.arange(1, max_tokens + 1)
    for length, found in zip(lengths.tolist(), overlong_punishment(lengths, max_tokens, buffer), strict=True):
        free = max_tokens - buffer
        expected = 0 if length <= free else (free - length) / buffer if length <= max_tokens else -1
        assert found == pytest.approx(expected)


def test_punishment_is_added_to_the_rewards_once() -> None:
    groups = [group(uniform=False), group(uniform=True)]
    lengths = [[len(rollout) for rollout in each.rollouts] for each in groups]
    before = [each.rewards.copy() for each in groups]
    punish_overlong(groups, 30, 0, 1.0)
    assert all(np.array_equal(each.rewards, was) for each, was in zip(groups, before, strict=True))
    punish_overlong(groups, 30, 20, 0.5)
    for each, was, tokens in zip(groups, before, lengths, strict=True):
        np.testing.assert_allclose(each.rewards - was, [0.5 * min(0, (10 - n) / 20) for n in tokens], atol=1e-6)
