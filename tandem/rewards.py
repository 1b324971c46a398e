"""The reward of a rollout: a sum of named terms, the first of which is correctness."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tandem.config.reward import RewardConfig
from tandem.rollout import Group


def assign_rewards(groups: Sequence[Group], config: RewardConfig, max_tokens: int) -> None:
    """Set `reward_terms` and `rewards`, their sum, of judged groups. Rollouts have at most `max_tokens` tokens.

    The terms are float32 [G], weighted by their settings: `correct`, the verifier's score; `format`, 1 if the response states
    a readable answer; `overlong`, DAPO's punishment.
    """
    for group in groups:
        lengths = np.array([len(rollout) for rollout in group.rollouts])
        group.reward_terms = {
            "correct": config.correct * _array([judgement.score for judgement in group.judgements]),
            "format": config.format * _array([judgement.readable for judgement in group.judgements]),
            "overlong": config.overlong_penalty * overlong_punishment(lengths, max_tokens, config.overlong_buffer_tokens),
        }
        group.rewards = np.stack(list(group.reward_terms.values())).sum(axis=0)


def overlong_punishment(lengths: np.ndarray, max_tokens: int, buffer_tokens: int) -> np.ndarray:
    """Return DAPO's soft overlong punishment (arXiv 2503.14476, eq. 13) for `lengths` in tokens [G], from 0 to -1, float32 [G].

    It is 0 up to `buffer_tokens` before `max_tokens` and falls linearly to -1 at `max_tokens`. Without a buffer it is 0.
    """
    if not buffer_tokens:
        return np.zeros(len(lengths), np.float32)
    return np.clip((max_tokens - buffer_tokens - lengths) / buffer_tokens, -1, 0).astype(np.float32)


def _array(values: Sequence[float]) -> np.ndarray:
    return np.array(values, np.float32)
