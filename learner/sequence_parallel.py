"""Sequence parallelism: several ranks split each sequence of a micro-batch.

DeepSpeed-Ulysses (arXiv 2309.14509). Before attention, the ranks exchange parts of sequences for heads: each then holds whole
sequences of some heads. All other layers look at one token at a time and need no exchange
(`tandem/models/sequence_parallel.py` names the models of which this is true).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import lru_cache
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from deepspeed.sequence.layer import DistributedAttention
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel

IMPLEMENTATION = "tandem_ulysses"
"""The attention's name in transformers."""


class SequenceParallel:
    """One rank of a sequence-parallel group: `size` consecutive ranks that compute the same micro-batches.

    All ranks of the process group must create it at the same time. An exchange that waits longer than `timeout_s` fails.
    """

    def __init__(self, size: int, timeout_s: float) -> None:
        self._group, _ = dist.new_subgroups(size, timeout=timedelta(seconds=timeout_s))
        self._size, self._rank = size, dist.get_rank(self._group)
        self._attention = DistributedAttention(CausalAttention(), self._group, scatter_idx=2, gather_idx=1)

    def apply(self, model: PreTrainedModel) -> None:
        """Let the attention of `model` exchange parts of sequences for heads.

        Raises `ValueError` for a model with an attention of its own.
        """
        AttentionInterface.register(IMPLEMENTATION, self._attend)
        AttentionMaskInterface.register(IMPLEMENTATION, lambda *_, **__: None)  # `CausalAttention` makes its own
        model.set_attn_implementation(IMPLEMENTATION)
        if model.config._attn_implementation != IMPLEMENTATION:  # transformers only warns
            raise ValueError(f"learner.sequence_parallel={self._size}: {type(model).__name__} cannot be split; set it to 1")

    def logprobs(
        self, compute: Callable[..., tuple[Tensor, Tensor]], input_ids: Tensor, positions: Tensor, targets: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return log-probabilities and entropies [N] of `targets` [N], equal on all ranks of the group.

        `compute` returns those of a part of the sequences: arguments as for `Policy.forward`, and `position_ids`. Each rank
        computes the gradient of its own part, so the gradients of the group add up to the whole one.
        """
        rows, length = input_ids.shape
        width = -(-length // self._size)
        first = self._rank * width
        part = F.pad(input_ids, (0, width * self._size - length))[:, first : first + width]
        row, column = positions // length, positions % length
        owner = column // width
        own = owner == self._rank
        # Padding has the last position: a model may have no further one.
        position_ids = torch.arange(first, first + width, device=part.device).clamp(max=length - 1).expand(rows, -1)
        own_positions = row[own] * width + column[own] - first
        own_values = torch.stack(compute(part, own_positions, targets[own], position_ids=position_ids))
        logprobs, entropies = _GatherParts.apply(own_values, owner, self._group)
        return logprobs, entropies

    def _attend(
        self, layer: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **options: Any
    ) -> tuple[Tensor, None]:
        """Return the attention [B, L, heads, D] of a part of L tokens; `query`, `key` and `value` are [B, heads, L, D]."""
        arguments = {"attention_mask": mask, **options}
        unknown = [name for name in ("attention_mask", "softcap", "s_aux", "position_bias") if arguments.get(name) is not None]
        if unknown:
            raise ValueError(
                f"learner.sequence_parallel={self._size}: the attention of {type(layer).__name__} uses {unknown}, which cannot "
                "be split; set it to 1"
            )
        # Each rank needs a key head: where there are fewer, copies.
        copies = max(1, self._size // key.shape[1])
        heads = [query, key.repeat_interleave(copies, dim=1), value.repeat_interleave(copies, dim=1)]
        scale, window = options.get("scaling"), options.get("sliding_window")
        return self._attention(*(each.transpose(1, 2) for each in heads), 0, scale=scale, window=window), None


class CausalAttention(nn.Module):
    """Causal attention of whole sequences; [B, L, heads, D] in and out."""

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, *, scale: float | None = None, window: int | None = None
    ) -> Tensor:
        """Return the attention, over at most `window` tokens if given."""
        query, key, value = (heads.transpose(1, 2) for heads in (query, key, value))
        mask = window_mask(query.shape[2], window, query.dtype, query.device) if window and window < query.shape[2] else None
        if mask is not None:  # on GPUs, only the kernel without a mask takes fewer key heads than heads
            shared = query.shape[1] // key.shape[1]
            key, value = key.repeat_interleave(shared, dim=1), value.repeat_interleave(shared, dim=1)
        attended = F.scaled_dot_product_attention(
            query, key, value, attn_mask=mask, is_causal=mask is None, scale=scale, enable_gqa=mask is None
        )
        return attended.transpose(1, 2).contiguous()


@lru_cache(maxsize=1)
def window_mask(length: int, window: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return [L, L]: 0 where a token (row) attends to another, else -inf; the same for all layers of a micro-batch.

    Of a bool mask, torch would make such a mask for each layer, and keep each for the backward pass.
    """
    index = torch.arange(length, device=device)
    later, before = index[:, None] < index, index[:, None] >= index + window
    return torch.zeros(length, length, dtype=dtype, device=device).masked_fill_(later.logical_or_(before), -torch.inf)


class _GatherParts(torch.autograd.Function):
    """Gathers the values [K, N] of all N positions from each rank's values [K, n] of its own."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, owner: Tensor, group: dist.ProcessGroup) -> Tensor:
        """Gather the values; `owner` [N] is the rank in the group that has a position."""
        ranks = dist.get_world_size(group)
        counts = owner.bincount(minlength=ranks).tolist()
        padded = F.pad(values, (0, max(counts) - values.shape[1]))
        received = [torch.empty_like(padded) for _ in range(ranks)]
        dist.all_gather(received, padded.contiguous(), group=group)
        whole = values.new_empty(len(values), len(owner))
        for rank, (count, part) in enumerate(zip(counts, received, strict=True)):
            whole[:, owner == rank] = part[:, :count]
        ctx.own = owner == dist.get_rank(group)
        return whole

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        """Return the gradient of the rank's own values."""
        return gradients[0][:, ctx.own], None, None
