"""What the objectives share: exponentials that stay finite, tokens that do not count, sums by rollout."""

from __future__ import annotations

import torch
from torch import Tensor

MAX_LOG_RATIO = 20.0
"""Beyond it exp() may overflow, and the zero gradient of a clipped token would become 0 * inf."""


def bounded_exp(log_ratio: Tensor) -> Tensor:
    """exp(log_ratio), within exp(-MAX_LOG_RATIO) and exp(MAX_LOG_RATIO)."""
    return log_ratio.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp()


def replaced(values: Tensor, live: Tensor) -> Tensor:
    """`values` with zeros where not `live`: multiplying by 0 would let infinities and NaN through."""
    return torch.where(live, values, 0.0)


def mean_by_rollout(values: Tensor, weights: Tensor, rollout: Tensor) -> Tensor:
    """For each of N tokens the weighted mean of `values` [N] over its rollout's tokens; `rollout` int64 [N] says whose they
    are. 0 where a rollout has no weight.
    """
    rollouts = int(rollout.max()) + 1 if len(rollout) else 0
    totals = weights.new_zeros(rollouts).index_add(0, rollout, weights)
    sums = values.new_zeros(rollouts).index_add(0, rollout, values * weights)
    return (sums / torch.where(totals > 0, totals, 1.0))[rollout]
