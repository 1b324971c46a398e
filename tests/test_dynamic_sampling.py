"""Which groups a step learns from."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.data.random_groups import random_groups
from tandem.dynamic_sampling import is_uniform, sample
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
