"""The policy loss: GRPO's clipped objective over the tokens that the authorship mask lets through."""

from __future__ import annotations

import torch
from torch import Tensor

MAX_LOG_RATIO = 20.0
"""Beyond it exp() may overflow, and the zero gradient of a clipped token would become 0 * inf."""


def clipped_loss(
    logprobs: Tensor,
    old_logprobs: Tensor,
    advantages: Tensor,
    weights: Tensor,
    senior: Tensor,
    *,
    clip_low: float,
    clip_high: float,
    denominator: float,
) -> tuple[Tensor, dict[str, Tensor]]:
    """The clipped surrogate (PPO, arXiv 1707.06347; as used by GRPO, arXiv 2402.03300), averaged over tokens.

    All tensors have one shape, an entry a token; `logprobs` carries the gradient. `weights` is 1 where the senior wrote the
    token, `junior_token_loss_weight` where the junior did and 0 for padding; `senior` (bool) marks the first kind.
    `denominator` is the total weight of the whole mini-batch: with it the losses of its micro-batches and ranks add up to
    the mean over its tokens.

    Returns the loss (a scalar) and sums over senior tokens, which add up likewise: `tokens`, `ratio` (the importance ratio)
    and `clipped` (1 where the clip decides). A token of weight 0 cannot reach the loss or its gradient, whatever its
    values, infinities and NaN included.
    """
    live = weights > 0
    # Dead tokens are replaced before exp(): multiplying its result by 0 would let an infinity through as NaN.
    log_ratio = torch.where(live, logprobs, 0.0) - torch.where(live, old_logprobs, 0.0)
    ratio = log_ratio.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp()
    advantages = torch.where(live, advantages, 0.0)
    free = -advantages * ratio
    clipped = -advantages * ratio.clamp(1 - clip_low, 1 + clip_high)
    loss = (torch.maximum(free, clipped) * weights).sum() / denominator
    counted = live & senior
    stats = {"tokens": counted.sum(), "ratio": ratio[counted].sum(), "clipped": (clipped > free)[counted].sum()}
    return loss, {name: value.detach().to(torch.float64) for name, value in stats.items()}
