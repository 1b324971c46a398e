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


def mean_by_part(values: Tensor, weights: Tensor, part: Tensor) -> Tensor:
    """Return for each of N tokens the weighted mean of `values` [N] over the tokens of its part; `part` int64 [N] says which
    that is. 0 where a part has no weight.
    """
    parts = int(part.max()) + 1 if len(part) else 0
    totals = weights.new_zeros(parts).index_add(0, part, weights)
    sums = values.new_zeros(parts).index_add(0, part, values * weights)
    return (sums / torch.where(totals > 0, totals, 1.0))[part]
