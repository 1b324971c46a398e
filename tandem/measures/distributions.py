"""Measures of two models' distributions over the next token: how far they are apart, and how well one foresees a text."""

from __future__ import annotations

import torch
from torch import Tensor


def cross_entropies(logits: Tensor, targets: Tensor) -> Tensor:
    """-log p(target) in nats, float32 [N], under softmax(logits [N, V]) for `targets` [N]."""
    return torch.nn.functional.cross_entropy(logits.float(), targets, reduction="none")


def divergences(ours: Tensor, theirs: Tensor) -> tuple[Tensor, Tensor]:
    """KL(ours || theirs) and KL(theirs || ours) in nats, float32 [N], of softmax(logits [N, V]).

    Where one model has more outputs than the other, over the tokens that both have.
    """
    common = min(ours.shape[1], theirs.shape[1])
    p, q = (logits[:, :common].float().log_softmax(-1) for logits in (ours, theirs))
    difference = p - q
    return (p.exp() * difference).sum(-1), -(q.exp() * difference).sum(-1)
