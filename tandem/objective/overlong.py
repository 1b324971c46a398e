"""Overlong shaping: a rollout that nears the limit of its length is punished before it is cut off."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tandem.rollout import Group


def overlong_punishment(lengths: np.ndarray, max_tokens: int, buffer_tokens: int) -> np.ndarray:
    """DAPO's soft overlong punishment (arXiv 2503.14476, eq. 13) for `lengths` in tokens [G], from 0 to -1, float32 [G].

    It is 0 up to `buffer_tokens` before `max_tokens` and falls linearly to -1 at `max_tokens`.
    """
    return np.clip((max_tokens - buffer_tokens - lengths) / buffer_tokens, -1, 0).astype(np.float32)


def punish_overlong(groups: Sequence[Group], max_tokens: int, buffer_tokens: int, penalty: float) -> None:
    """Adds `penalty` times the punishment to the groups' rewards; without a buffer, nothing."""
    for group in groups if buffer_tokens else ():
        lengths = np.array([len(rollout) for rollout in group.rollouts])
        group.rewards = group.rewards + penalty * overlong_punishment(lengths, max_tokens, buffer_tokens)
