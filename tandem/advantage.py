"""Group-relative advantages.

An estimator maps the rewards of a step's groups, an array [G] each, to their advantages. To add one, write the function and
name it in `ESTIMATORS`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from tandem.rollout import Group, is_constant

EPSILON = 1e-6
"""Added to standard deviations."""


def grpo(rewards: np.ndarray) -> np.ndarray:
    """Return GRPO's advantages (arXiv 2402.03300): rewards float32 [G] standardized within the group.

    The standard deviation is unbiased.
    """
    return (_centered(rewards) / (rewards.astype(np.float64).std(ddof=1) + EPSILON)).astype(np.float32)


def dr_grpo(rewards: np.ndarray) -> np.ndarray:
    """Return Dr. GRPO's advantages (arXiv 2503.20783): rewards float32 [G] minus their mean. Very easy and very hard problems
    get no extra weight.
    """
    return _centered(rewards).astype(np.float32)


def rloo(rewards: np.ndarray) -> np.ndarray:
    """Return RLOO's advantages (arXiv 2402.14740): each reward float32 [G] minus the mean of the others."""
    return (_centered(rewards) * len(rewards) / (len(rewards) - 1)).astype(np.float32)


def reinforce_plus_plus(rewards: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return REINFORCE++-baseline's advantages (arXiv 2501.03262): rewards minus their group's mean, divided by the standard
    deviation of these differences in the whole step.

    The mean of the step is zero. The standard deviation is unbiased.
    """
    centered = [_centered(group) for group in rewards]
    deviation = np.concatenate(centered).std(ddof=1) + EPSILON
    return [(group / deviation).astype(np.float32) for group in centered]


def _centered(rewards: np.ndarray) -> np.ndarray:
    """Return the rewards [G] minus their mean in float64; exactly zero for a constant group."""
    if is_constant(rewards):  # the mean of equal floats may differ from them in the last bit
        return np.zeros(len(rewards))
    exact = rewards.astype(np.float64)
    return exact - exact.mean()


def _group_by_group(estimate: Callable[[np.ndarray], np.ndarray]) -> Callable[[Sequence[np.ndarray]], list[np.ndarray]]:
    return lambda rewards: [estimate(group) for group in rewards]


ESTIMATORS: dict[str, Callable[[Sequence[np.ndarray]], list[np.ndarray]]] = {
    "grpo": _group_by_group(grpo),
    "dr_grpo": _group_by_group(dr_grpo),
    "rloo": _group_by_group(rloo),
    "reinforce++": reinforce_plus_plus,
}
"""Estimators by name (`algo.advantage`)."""


def assign_advantages(groups: Sequence[Group], name: str) -> None:
    """Set the `advantages` of every group from its `rewards` with the estimator `name`.

    Raises `ValueError` for a group without a reward for each rollout, and for a group of one rollout.
    """
    for group in groups:
        if len(group.rewards) != len(group.rollouts):
            raise ValueError(
                f"problem {group.prompt.problem.id}: {len(group.rewards)} rewards for {len(group.rollouts)} rollouts; "
                "judge the whole group first"
            )
        if len(group.rewards) < 2:
            raise ValueError(f"a group of {len(group.rewards)} has nothing to compare; rollout.group_size must be at least 2")
    for group, advantages in zip(groups, ESTIMATORS[name]([group.rewards for group in groups]), strict=True):
        group.advantages = advantages
