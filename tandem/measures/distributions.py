"""Measures of next-token distributions: cross-entropy and divergence."""

from __future__ import annotations

import torch
from torch import Tensor


def cross_entropies(logits: Tensor, targets: Tensor) -> Tensor:
    """Return -log p(target) in nats, float32 [N], under softmax(logits [N, V]) for `targets` [N]."""
    return torch.nn.functional.cross_entropy(logits.float(), targets, reduction="none")


def divergences(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Return KL(first || second) and KL(second || first) in nats, float32 [N], of softmax(logits [N, V]).

    If one model has more outputs than the other, only the tokens of both are used.
    """
    common = min(first.shape[1], second.shape[1])
    p, q = (logits[:, :common].float().log_softmax(-1) for logits in (first, second))
    difference = p - q
    return (p.exp() * difference).sum(-1), -(q.exp() * difference).sum(-1)
