"""Group-relative advantages: how much better than its group's other rollouts each one was.

An estimator maps the rewards of a step's groups, an array [G] each, to their advantages; to add one, write the function and
name it in `ESTIMATORS`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from tandem.rollout import Group

EPSILON = 1e-6
"""Keeps a nearly constant group finite."""


def grpo(rewards: np.ndarray) -> np.ndarray:
    """GRPO's advantage (arXiv 2402.03300): rewards float32 [G] standardised within their group.

    The standard deviation is the unbiased one.
    """
    return (_centred(rewards) / (rewards.astype(np.float64).std(ddof=1) + EPSILON)).astype(np.float32)


def dr_grpo(rewards: np.ndarray) -> np.ndarray:
    """Dr. GRPO's advantage (arXiv 2503.20783): rewards float32 [G] less their mean, so that no problem counts more for being
    very easy or very hard.
    """
    return _centred(rewards).astype(np.float32)


def rloo(rewards: np.ndarray) -> np.ndarray:
    """RLOO's advantage (arXiv 2402.14740): each of the rewards float32 [G] less the mean of the others."""
    return (_centred(rewards) * len(rewards) / (len(rewards) - 1)).astype(np.float32)


def reinforce_plus_plus(rewards: Sequence[np.ndarray]) -> list[np.ndarray]:
    """REINFORCE++-baseline's advantages (arXiv 2501.03262): rewards less their group's mean, over the standard deviation of
    what is left in the whole step.

    The step's mean is zero already. The standard deviation is the unbiased one.
    """
    centred = [_centred(group) for group in rewards]
    deviation = np.concatenate(centred).std(ddof=1) + EPSILON
    return [(group / deviation).astype(np.float32) for group in centred]


def _centred(rewards: np.ndarray) -> np.ndarray:
    """The rewards [G] less their mean, in float64. A constant group says nothing: exactly zero."""
    if np.ptp(rewards) == 0:  # the mean of equal floats may differ from them in the last bit
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
"""The estimators by their name in `algo.advantage`."""


def assign_advantages(groups: Sequence[Group], name: str) -> None:
    """Sets every group's `advantages` from its `rewards` with the estimator `name`.

    Raises `ValueError` for an unknown name, for a group that lacks a reward for each rollout, and for one of fewer than two.
    """
    if name not in ESTIMATORS:
        raise ValueError(f"algo.advantage={name!r} is unknown; choose one of {', '.join(ESTIMATORS)}")
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
