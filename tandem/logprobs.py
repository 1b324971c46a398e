"""Log-probabilities of given tokens, computed without the logits of the whole batch in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from transformers import PretrainedConfig

LOGIT_TRANSFORMS = (
    "final_logit_softcapping",
    "logits_soft_cap",
    "output_logit_soft_cap",
    "logit_scale",
    "logits_scaling",
    "lm_head_multiplier",
    "logits_mup_width_multiplier",
    "unpadded_vocab_size",
)
"""Model settings that change the logits after the head, so that hidden states and head do not determine them."""


def refuse_logit_transforms(model: PretrainedConfig, path: object, remedy: str = "") -> None:
    """Raise `ValueError`, with `remedy`, for a model (at `path`) whose logits are not hidden @ weight.T."""
    for setting in LOGIT_TRANSFORMS:
        if getattr(model, setting, None) not in (None, 1.0):
            raise ValueError(f"{path}: models that set {setting} are not supported{remedy}")


def token_logprobs(hidden: Tensor, weight: Tensor, targets: Tensor, temperature: float, chunk: int) -> tuple[Tensor, Tensor]:
    """Return log-probabilities of `targets` [N] and entropies [N], in nats, of softmax(hidden @ weight.T / temperature).

    `hidden` is [N, H], the head's `weight` [V, H]. Logits exist for `chunk` tokens at a time. Those of the last chunk are kept
    for the backward pass, the others are recomputed. The softmax is at least float32. Gradients flow from the log-probabilities
    to `hidden` and `weight`; the entropy has no gradient.

    Raises `ValueError` unless `temperature` and `chunk` are positive.
    """
    if temperature <= 0 or chunk <= 0:
        raise ValueError(f"temperature={temperature} and chunk={chunk} must both be positive")
    return _TokenLogprobs.apply(hidden, weight, targets, temperature, chunk)


_CACHED = 2**19
"""Number of logits that stay in a CPU's cache from one pass over them to the next."""


def _chunks(count: int, size: int) -> list[slice]:
    """Return slices of `size` rows; the first has the remainder, so that the last, whose logits are kept, is full."""
    ends = range(count, 0, -size)
    return [slice(max(0, end - size), end) for end in ends][::-1]


def _blocks(logits: Tensor) -> list[slice]:
    """Return slices of the rows of `logits` that fit a CPU's cache; on a GPU one slice."""
    size = max(1, _CACHED // logits.shape[1]) if logits.device.type == "cpu" else max(1, len(logits))
    return [slice(start, start + size) for start in range(0, len(logits), size)]


def _logits(hidden: Tensor, weight: Tensor) -> Tensor:
    return (hidden @ weight.T).to(_work_dtype(hidden))


def _log_softmax(logits: Tensor, temperature: float) -> Tensor:
    """Return the log-softmax of `logits`, which are overwritten."""
    if temperature != 1:
        logits.div_(temperature)
    return torch.log_softmax(logits, dim=-1)


def _work_dtype(tensor: Tensor) -> torch.dtype:
    return torch.promote_types(tensor.dtype, torch.float32)


class _TokenLogprobs(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, temperature: float, chunk: int
    ) -> tuple[Tensor, Tensor]:
        ctx.temperature, ctx.chunk = temperature, chunk
        logprobs = torch.empty(len(hidden), dtype=_work_dtype(hidden), device=hidden.device)
        entropies = torch.empty_like(logprobs)
        softmax = None
        for rows in _chunks(len(hidden), chunk):
            softmax = None  # free the previous chunk before this one is allocated
            softmax = _logits(hidden[rows], weight)
            for block in _blocks(softmax):
                log_softmax = _log_softmax(softmax[block], temperature)
                logprobs[rows][block] = log_softmax.gather(1, targets[rows][block, None]).squeeze(1)
                torch.exp(log_softmax, out=softmax[block])
                entropies[rows][block] = -torch.linalg.vecdot(softmax[block], log_softmax)
        ctx.save_for_backward(hidden, weight, targets)
        ctx.softmax = softmax  # not saved with the others, because the backward pass writes into it
        ctx.mark_non_differentiable(entropies)
        return logprobs, entropies

    @staticmethod
    def backward(ctx: Any, grad_logprobs: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, targets = ctx.saved_tensors
        softmax, ctx.softmax = ctx.softmax, None
        grad_hidden = torch.empty_like(hidden)
        grad_weight = torch.zeros_like(weight, dtype=_work_dtype(weight))
        for rows in reversed(_chunks(len(hidden), ctx.chunk)):
            if softmax is None:
                softmax = _logits(hidden[rows], weight)
                for block in _blocks(softmax):
                    torch.exp(_log_softmax(softmax[block], ctx.temperature), out=softmax[block])
            # d logprob(target) / d logits = onehot(target) - softmax, and logits are divided by the temperature.
            grad = -grad_logprobs[rows, None] / ctx.temperature
            softmax.scatter_add_(1, targets[rows, None], -torch.ones_like(grad))
            difference = softmax.to(hidden.dtype)
            grad_hidden[rows] = (difference @ weight) * grad
            grad_weight += difference.T @ (hidden[rows] * grad).to(hidden.dtype)
            softmax = difference = None
        return grad_hidden, grad_weight.to(weight.dtype), None, None, None
