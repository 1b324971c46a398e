"""Group-relative advantages: how much better than its group's other rollouts each one was.

An estimator maps the rewards of one group [G] to advantages [G]; to add one, write the function and name it in `ESTIMATORS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from tandem.rollout import Group

EPSILON = 1e-6
"""Keeps a nearly constant group finite."""


def grpo(rewards: np.ndarray) -> np.ndarray:
    """GRPO's advantage (arXiv 2402.03300): rewards float32 [G] standardised within their group.

    The standard deviation is the unbiased one. A constant group says nothing: its advantages are exactly zero.
    Raises `ValueError` for fewer than two rewards.
    """
    if len(rewards) < 2:
        raise ValueError(f"a group of {len(rewards)} has nothing to compare; rollout.group_size must be at least 2")
    if np.ptp(rewards) == 0:  # the mean of equal floats may differ from them in the last bit
        return np.zeros(len(rewards), np.float32)
    rewards = rewards.astype(np.float64)
    return ((rewards - rewards.mean()) / (rewards.std(ddof=1) + EPSILON)).astype(np.float32)


ESTIMATORS: dict[str, Callable[[np.ndarray], np.ndarray]] = {"grpo": grpo}
"""The estimators by their name in `algo.advantage`."""


def assign_advantages(groups: Iterable[Group], name: str) -> None:
    """Sets every group's `advantages` from its `rewards` with the estimator `name`.

    Raises `ValueError` for an unknown name, or for a group that lacks a reward for each rollout.
    """
    if name not in ESTIMATORS:
        raise ValueError(f"algo.advantage={name!r} is unknown; choose one of {', '.join(ESTIMATORS)}")
    for group in groups:
        if len(group.rewards) != len(group.rollouts):
            raise ValueError(
                f"problem {group.prompt.problem.id}: {len(group.rewards)} rewards for {len(group.rollouts)} rollouts; "
                "judge the whole group first"
            )
        group.advantages = ESTIMATORS[name](group.rewards)
