from __future__ import annotations

from math import sqrt
from statistics import fmean

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.advantage import ESTIMATORS, assign_advantages
from tests.support.random_groups import random_groups

SIZE = 5
# Rewards of a step's groups, neither equal nor so close that the epsilon matters.
reward = st.integers(-20, 20).map(lambda n: n / 10)
steps = st.lists(st.lists(reward, min_size=SIZE, max_size=SIZE), min_size=2, max_size=6)
every_estimator = pytest.mark.parametrize("name", ESTIMATORS)


def deviation(values: list[float]) -> float:
    return sqrt(sum((value - fmean(values)) ** 2 for value in values) / (len(values) - 1))


def reference(name: str, step: list[list[float]]) -> list[list[float]]:
    """The formulas of the estimators in plain Python."""
    less_mean = [[r - fmean(group) for r in group] for group in step]
    match name:
        case "grpo":
            return [[r / (deviation(group) + 1e-6) for r in group] for group in less_mean]
        case "dr_grpo":
            return less_mean
        case "rloo":
            return [[r - (sum(group) - r) / (len(group) - 1) for r in group] for group in step]
        case "reinforce++":
            scale = deviation([r for group in less_mean for r in group]) + 1e-6
            return [[r / scale for r in group] for group in less_mean]
    raise ValueError(name)


def advantages(name: str, step: list[list[float]]) -> list[np.ndarray]:
    return ESTIMATORS[name]([np.array(group, np.float32) for group in step])


@every_estimator
@given(step=steps)
def test_every_estimator_follows_its_paper(name: str, step: list[list[float]]) -> None:
    for found, expected in zip(advantages(name, step), reference(name, step), strict=True):
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=2e-6)


@every_estimator
@given(rewards=st.lists(st.floats(-10, 10, width=32), min_size=1, max_size=4), size=st.integers(2, 16))
def test_constant_group_has_zero_advantage(name: str, rewards: list[float], size: int) -> None:
    assert not any(group.any() for group in advantages(name, [[reward] * size for reward in rewards]))


@every_estimator
@given(step=steps, random=st.randoms())
def test_permuting_group_permutes_its_advantages(name: str, step: list[list[float]], random) -> None:  # type: ignore[no-untyped-def]
    order = random.sample(range(SIZE), SIZE)
    permuted = advantages(name, [[step[0][i] for i in order], *step[1:]])
    np.testing.assert_allclose(permuted[0], advantages(name, step)[0][order], atol=1e-5)


@every_estimator
@given(step=steps)
def test_advantages_of_group_sum_to_zero(name: str, step: list[list[float]]) -> None:
    assert all(abs(group.sum()) < 1e-4 for group in advantages(name, step))


def test_only_reinforce_plus_plus_depends_on_other_groups() -> None:
    easy, hard, constant = [1.0, 1, 1, 0], [0.0, 0, 0, 1], [1.0] * 4
    for name in ESTIMATORS:
        alone, among_others = advantages(name, [easy]), advantages(name, [easy, hard, constant])
        assert np.array_equal(alone[0], among_others[0]) == (name != "reinforce++")


def test_group_of_one_is_refused() -> None:
    (group,) = random_groups(0, groups=1, size=1)
    group.rewards = np.ones(1, np.float32)
    with pytest.raises(ValueError, match="group_size"):
        assign_advantages([group], "grpo")


def test_every_group_is_assigned_its_own_advantages() -> None:
    groups = random_groups(0, groups=2)
    groups[0].rewards, groups[1].rewards = np.array([1, 0, 0, 0], np.float32), np.ones(4, np.float32)
    assign_advantages(groups, "grpo")
    np.testing.assert_allclose(groups[0].advantages, [1.5, -0.5, -0.5, -0.5], rtol=1e-5)
    assert not groups[1].advantages.any()


def test_unjudged_groups_are_refused() -> None:
    with pytest.raises(ValueError, match="0 rewards for 4 rollouts"):
        assign_advantages(random_groups(0), "grpo")
