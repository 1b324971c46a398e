from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from random_rollouts import random_groups

from tandem.advantage import assign_advantages, grpo

rewards = st.lists(st.floats(-2, 2, width=32), min_size=2, max_size=16).map(lambda r: np.array(r, np.float32))


def test_grpo_standardises_with_the_unbiased_deviation() -> None:
    expected = torch.tensor([1.0, 0.0, 0.0, 1.0, 0.0])
    expected = (expected - expected.mean()) / (expected.std() + 1e-6)
    np.testing.assert_allclose(grpo(np.array([1, 0, 0, 1, 0], np.float32)), expected, rtol=1e-6)


@given(st.floats(-10, 10, width=32), st.integers(2, 16))
def test_a_constant_group_has_no_advantage(reward: float, size: int) -> None:
    assert not grpo(np.full(size, reward, np.float32)).any()


@given(rewards, st.randoms())
def test_permuting_a_group_permutes_its_advantages(group: np.ndarray, random) -> None:  # type: ignore[no-untyped-def]
    order = random.sample(range(len(group)), len(group))
    np.testing.assert_allclose(grpo(group[order]), grpo(group)[order], atol=1e-5)


@given(rewards)
def test_advantages_of_a_group_cancel(group: np.ndarray) -> None:
    assert abs(grpo(group).sum()) < 1e-4


def test_a_group_of_one_is_refused() -> None:
    with pytest.raises(ValueError, match="group_size"):
        grpo(np.ones(1, np.float32))


def test_every_group_is_assigned_its_own_advantages() -> None:
    groups = random_groups(0, groups=2)
    groups[0].rewards, groups[1].rewards = np.array([1, 0, 0, 0], np.float32), np.ones(4, np.float32)
    assign_advantages(groups, "grpo")
    np.testing.assert_allclose(groups[0].advantages, [1.5, -0.5, -0.5, -0.5], rtol=1e-5)
    assert not groups[1].advantages.any()


def test_unknown_estimators_and_unjudged_groups_are_refused() -> None:
    with pytest.raises(ValueError, match=r"gpro.*choose one of grpo"):
        assign_advantages(random_groups(0), "gpro")
    with pytest.raises(ValueError, match="0 rewards for 4 rollouts"):
        assign_advantages(random_groups(0), "grpo")
