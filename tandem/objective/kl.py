"""Kullback-Leibler terms of the loss, estimated at tokens that were sampled (J. Schulman, "Approximating KL Divergence")."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from tandem.objective.numerics import MAX_LOG_RATIO


def k1(logprobs: Tensor, reference: Tensor) -> Tensor:
    """log p - log r, [N]: unbiased as a number. As a loss its gradient is zero in expectation over p's own samples: it measures
    and does not pull.
    """
    return logprobs - reference


def k2(logprobs: Tensor, reference: Tensor) -> Tensor:
    """(log p - log r)^2 / 2, [N]: biased as a number; its gradient is that of KL(p || r) in expectation over p's samples."""
    return (logprobs - reference).square() / 2


def k3(logprobs: Tensor, reference: Tensor) -> Tensor:
    """r/p - 1 - log(r/p), [N]: unbiased, never negative; GRPO's (arXiv 2402.03300, eq. 4). Its gradient is KL(r || p)'s."""
    log_ratio = (reference - logprobs).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)
    return log_ratio.exp() - 1 - log_ratio


ESTIMATORS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"k1": k1, "k2": k2, "k3": k3}
"""Of KL(policy || reference), by their name in `algo.kl_estimator`."""


def towards_junior(logprobs: Tensor, junior_logprobs: Tensor) -> Tensor:
    """log q - log p, [N], at tokens that the junior q sampled: unbiased for KL(q || p), and so is its gradient, that of
    imitating the junior's tokens.
    """
    return junior_logprobs - logprobs
