"""Corrections where engine and learner disagree: the engine sampled from one distribution, the learner computes another.

With mu the engine's log-probabilities and `old` the learner's of the same weights, w = exp(old - mu). A correction says what a
token's loss is multiplied with. It sees the senior's tokens alone: the junior's were sampled from another model, which is no
mismatch of one. To add one, write the function and name it in `CORRECTIONS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from tandem.objective.numerics import bounded_exp, mean_by_part

if TYPE_CHECKING:
    from tandem.batching import MicroBatch
    from tandem.config import AlgoConfig


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
    """1 for all of the senior's tokens of a rollout if the geometric mean of their w is within [low, high], else 0, [N]."""
    ratio = bounded_exp(mean_by_part(log_ratio, torch.ones_like(log_ratio), rollout))
    return ((ratio >= low) & (ratio <= high)).to(log_ratio.dtype)


CORRECTIONS: dict[str, Callable[[Tensor, Tensor, float, float], Tensor]] = {
    "tis": truncated,
    "icepop": masked_band,
    "sequence_mask": sequence_mask,
}
"""By their name in `algo.mismatch`: from old - mu [N], the rollouts of the tokens [N] and two bounds to factors [N]."""


def corrected(batch: MicroBatch, algo: AlgoConfig) -> tuple[MicroBatch, dict[str, Tensor]]:
    """Return the micro-batch with `algo.mismatch` in the coefficients of the senior's tokens, and what adds up over
    micro-batches: `corrected` tokens, the sum `correction` of their factors, and how many were `masked`, with a factor of 0.
    """
    senior = batch.senior
    log_ratio = (batch.old_logprobs - batch.behaviour_logprobs)[senior]
    factors = CORRECTIONS[algo.mismatch](log_ratio, batch.rollout[senior], algo.mismatch_low, algo.mismatch_high)
    coefficients = batch.coefficients.clone()
    coefficients[senior] *= factors
    stats = {"correction": factors.sum(), "masked": (factors == 0).sum(), "corrected": senior.sum()}
    return replace(batch, coefficients=coefficients), stats
