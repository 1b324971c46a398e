"""Log-probabilities of given tokens, without the logits of the whole batch ever existing at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from transformers import PretrainedConfig

LOGIT_TRANSFORMS = ("final_logit_softcapping", "logit_scale", "logits_scaling")
"""Settings of models that change their logits behind the head: what is computed from hidden states and head would be wrong."""


def refuse_logit_transforms(model: PretrainedConfig, path: object, remedy: str = "") -> None:
    """Raises `ValueError`, with `remedy`, for a model (at `path`) whose logits are more than hidden @ weight.T."""
    for setting in LOGIT_TRANSFORMS:
        if getattr(model, setting, None) not in (None, 1.0):
            raise ValueError(f"{path}: models that set {setting} are not supported{remedy}")


def token_logprobs(
    hidden: Tensor, weight: Tensor, targets: Tensor, temperature: float, forbidden: int | None, chunk: int
) -> tuple[Tensor, Tensor]:
    """Log-probabilities of `targets` [N] and entropies [N], in nats, of softmax(hidden @ weight.T / temperature).

    `hidden` is [N, H], the head's `weight` [V, H]. The distribution is over the vocabulary without the id `forbidden`, if
    there is one: what the engines sample from when they mask the sentinel. Logits exist for `chunk` tokens at a time: the
    last chunk's are kept for the backward pass, those before are recomputed there. The softmax is float32 at least, whatever
    the inputs are. Gradients flow from the log-probabilities to `hidden` and `weight`; the entropy is a statistic without
    gradient.

    Raises `ValueError` unless `temperature` and `chunk` are positive.
    """
    if temperature <= 0 or chunk <= 0:
        raise ValueError(f"temperature={temperature} and chunk={chunk} must both be positive")
    return _TokenLogprobs.apply(hidden, weight, targets, temperature, forbidden, chunk)


def _log_softmax(hidden: Tensor, weight: Tensor, temperature: float, forbidden: int | None) -> Tensor:
    logits = (hidden @ weight.T).to(_work_dtype(hidden))
    if temperature != 1:
        logits.div_(temperature)
    if forbidden is not None:
        logits[:, forbidden] = -torch.inf
    return torch.log_softmax(logits, dim=-1)


def _work_dtype(tensor: Tensor) -> torch.dtype:
    return torch.promote_types(tensor.dtype, torch.float32)


class _TokenLogprobs(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, temperature: float, forbidden: int | None, chunk: int
    ) -> tuple[Tensor, Tensor]:
        ctx.temperature, ctx.forbidden, ctx.chunk = temperature, forbidden, chunk
        logprobs = torch.empty(len(hidden), dtype=_work_dtype(hidden), device=hidden.device)
        entropies = torch.empty_like(logprobs)
        softmax = None
        for start in range(0, len(hidden), chunk):
            rows = slice(start, start + chunk)
            softmax = None  # the chunk before must be gone before this one is there
            log_softmax = _log_softmax(hidden[rows], weight, temperature, forbidden)
            logprobs[rows] = log_softmax.gather(1, targets[rows, None]).squeeze(1)
            softmax = log_softmax.exp_()
            entropies[rows] = torch.special.entr(softmax).sum(-1)  # entr(0) is 0, so the forbidden id adds nothing
        ctx.save_for_backward(hidden, weight, targets)
        ctx.softmax = softmax  # not saved as the others are, since the backward pass writes into it
        ctx.mark_non_differentiable(entropies)
        return logprobs, entropies

    @staticmethod
    def backward(ctx: Any, grad_logprobs: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, targets = ctx.saved_tensors
        softmax, ctx.softmax = ctx.softmax, None
        grad_hidden = torch.empty_like(hidden)
        grad_weight = torch.zeros_like(weight, dtype=_work_dtype(weight))
        for start in reversed(range(0, len(hidden), ctx.chunk)):
            rows = slice(start, start + ctx.chunk)
            if softmax is None:
                softmax = _log_softmax(hidden[rows], weight, ctx.temperature, ctx.forbidden).exp_()
            # d logprob(target) / d logits = onehot(target) - softmax, and logits are divided by the temperature.
            grad = grad_logprobs[rows, None] / ctx.temperature
            grad_logits = softmax.mul_(-grad)
            grad_logits.scatter_add_(1, targets[rows, None], grad)
            if ctx.forbidden is not None:
                grad_logits[:, ctx.forbidden] = 0
            grad_logits = grad_logits.to(hidden.dtype)
            grad_hidden[rows] = grad_logits @ weight
            grad_weight += grad_logits.T @ hidden[rows]
            softmax = grad_logits = None
        return grad_hidden, grad_weight.to(weight.dtype), None, None, None, None
