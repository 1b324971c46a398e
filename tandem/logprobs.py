"""Log-probabilities of given tokens, computed without the logits of the whole batch in memory."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tandem.models.logit_transform import IDENTITY, LogitTransform


def token_logprobs(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    temperature: float,
    chunk: int,
    bias: Tensor | None = None,
    transform: LogitTransform = IDENTITY,
) -> tuple[Tensor, Tensor]:
    """Return log-probabilities of `targets` [N] and entropies [N], in nats, of softmax(logits / temperature).

    `logits` are transform(hidden @ weight.T + bias); `hidden` is [N, H], the head's `weight` [V, H] and its `bias`, if it has
    one, [V]. Logits exist for `chunk` tokens at a time. The backward pass recomputes them, except for the last chunk: its
    softmax is kept, unless there is a softcap. The softmax is at least float32. Gradients flow from the log-probabilities to
    `hidden`, `weight` and `bias`; the entropy has no gradient.

    Raises `ValueError` unless `temperature` and `chunk` are positive.
    """
    if temperature <= 0 or chunk <= 0:
        raise ValueError(f"temperature={temperature} and chunk={chunk} must both be positive")
    return _TokenLogprobs.apply(hidden, weight, bias, targets, temperature, chunk, transform)


_CACHED = 2**19
"""Number of logits that stay in a CPU's cache from one pass over them to the next."""


def _chunks(count: int, size: int) -> list[slice]:
    """Return slices of `size` rows; the first has the remainder, so that the last, whose softmax is kept, is full."""
    ends = range(count, 0, -size)
    return [slice(max(0, end - size), end) for end in ends][::-1]


def _blocks(logits: Tensor) -> list[slice]:
    """Return slices of the rows of `logits` that fit a CPU's cache; on a GPU one slice."""
    size = max(1, _CACHED // logits.shape[1]) if logits.device.type == "cpu" else max(1, len(logits))
    return [slice(start, start + size) for start in range(0, len(logits), size)]


def _logits(hidden: Tensor, weight: Tensor, bias: Tensor | None, transform: LogitTransform) -> Tensor:
    output = hidden @ weight.T if bias is None else torch.addmm(bias, hidden, weight.T)
    return transform.apply_(output.to(_work_dtype(hidden)))


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
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        temperature: float,
        chunk: int,
        transform: LogitTransform,
    ) -> tuple[Tensor, Tensor]:
        ctx.temperature, ctx.chunk, ctx.transform = temperature, chunk, transform
        logprobs = torch.empty(len(hidden), dtype=_work_dtype(hidden), device=hidden.device)
        entropies = torch.empty_like(logprobs)
        softmax = None
        for rows in _chunks(len(hidden), chunk):
            softmax = None  # free the previous chunk before this one is allocated
            softmax = _logits(hidden[rows], weight, bias, transform)
            for block in _blocks(softmax):
                log_softmax = _log_softmax(softmax[block], temperature)
                logprobs[rows][block] = log_softmax.gather(1, targets[rows][block, None]).squeeze(1)
                torch.exp(log_softmax, out=softmax[block])
                entropies[rows][block] = -torch.linalg.vecdot(softmax[block], log_softmax)
        ctx.save_for_backward(hidden, weight, bias, targets)
        # Not saved with the others, because the backward pass writes into it. The slope of a cap needs the logits instead.
        ctx.softmax = softmax if transform.softcap is None else None
        ctx.mark_non_differentiable(entropies)
        return logprobs, entropies

    @staticmethod
    def backward(ctx: Any, grad_logprobs: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, bias, targets = ctx.saved_tensors
        transform: LogitTransform = ctx.transform
        softmax, ctx.softmax = ctx.softmax, None
        grad_hidden = torch.empty_like(hidden)
        grad_weight = torch.zeros_like(weight, dtype=_work_dtype(weight))
        grad_bias = None if bias is None else torch.zeros_like(bias, dtype=_work_dtype(bias))
        for rows in reversed(_chunks(len(hidden), ctx.chunk)):
            recompute = softmax is None
            if recompute:
                softmax = _logits(hidden[rows], weight, bias, transform)
            # d logprob(target) / d logits = onehot(target) - softmax, and logits are divided by the temperature.
            grad = -grad_logprobs[rows, None] / ctx.temperature
            for block in _blocks(softmax):
                slope = transform.slope(softmax[block])
                if recompute:
                    torch.exp(_log_softmax(softmax[block], ctx.temperature), out=softmax[block])
                chosen = targets[rows][block, None]
                softmax[block].scatter_add_(1, chosen, -torch.ones_like(grad[block]))
                if transform != IDENTITY:
                    softmax[block] *= slope
            difference = softmax.to(hidden.dtype)
            grad_hidden[rows] = (difference @ weight) * grad
            grad_weight += difference.T @ (hidden[rows] * grad).to(hidden.dtype)
            if grad_bias is not None:
                grad_bias += difference.T.to(grad_bias.dtype) @ grad[:, 0].to(grad_bias.dtype)
            softmax = difference = None
        return grad_hidden, grad_weight.to(weight.dtype), None if grad_bias is None else grad_bias.to(bias.dtype), *[None] * 4
