"""Corrections where engine and learner disagree: the engine sampled from one distribution, the learner computes another.

With mu the engine's log-probabilities and `old` the learner's of the same weights, w = exp(old - mu). A correction says what a
token's loss is multiplied with. To add one, write the function and name it in `CORRECTIONS`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from tandem.objective.numerics import bounded_exp, mean_by_rollout


def truncated(log_ratio: Tensor, rollout: Tensor, low: float, high: float) -> Tensor:
    """min(w, high), [N]: truncated importance sampling (TIS, F. Yao et al., 2025, "Your efficient RL framework secretly brings
    you off-policy RL training"). `low` plays no part.
    """
    return bounded_exp(log_ratio).clamp(max=high)


def masked_band(log_ratio: Tensor, rollout: Tensor, low: float, high: float) -> Tensor:
    """w within [low, high], else 0, [N]: IcePop (Ling team, 2025; arXiv 2510.18855)."""
    ratio = bounded_exp(log_ratio)
    return torch.where((ratio >= low) & (ratio <= high), ratio, 0.0)


def sequence_mask(log_ratio: Tensor, rollout: Tensor, low: float, high: float) -> Tensor:
    """1 for all of a rollout's tokens if the geometric mean of their w is within [low, high], else 0, [N]."""
    ratio = bounded_exp(mean_by_rollout(log_ratio, torch.ones_like(log_ratio), rollout))
    return ((ratio >= low) & (ratio <= high)).to(log_ratio.dtype)


CORRECTIONS: dict[str, Callable[[Tensor, Tensor, float, float], Tensor]] = {
    "tis": truncated,
    "icepop": masked_band,
    "sequence_mask": sequence_mask,
}
"""By their name in `algo.mismatch`: from old - mu [N], the rollouts of the tokens [N] and two bounds to factors [N]."""
