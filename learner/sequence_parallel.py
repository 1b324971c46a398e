"""Sequence parallelism: several ranks compute each micro-batch together, every one a part of each sequence.

DeepSpeed-Ulysses (arXiv 2309.14509). Before attention, the ranks exchange parts of sequences for heads: each then holds whole
sequences of some heads. All other layers look at one token at a time and need no exchange.
"""

from __future__ import annotations

from collections.abc import Callable
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
    """A rank's place in its sequence-parallel group: `size` consecutive ranks that compute the same micro-batches.

    All ranks of the process group must create it at the same time.
    """

    def __init__(self, size: int) -> None:
        self._group, _ = dist.new_subgroups(size)
        self._size, self._rank = size, dist.get_rank(self._group)
        self._attention = DistributedAttention(CausalAttention(), self._group, scatter_idx=2, gather_idx=1)

    def apply(self, model: PreTrainedModel) -> None:
        """Let the attention of `model` exchange parts of sequences for heads."""
        AttentionInterface.register(IMPLEMENTATION, self._attend)
        AttentionMaskInterface.register(IMPLEMENTATION, lambda *_, **__: None)  # `CausalAttention` makes its own
        model.set_attn_implementation(IMPLEMENTATION)

    def logprobs(
        self, compute: Callable[..., tuple[Tensor, Tensor]], input_ids: Tensor, positions: Tensor, targets: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return log-probabilities and entropies [N] of `targets` [N], equal on all ranks of the group.

        `compute` returns those of a part of the sequences: arguments as for `Policy.forward`, and `position_ids`. Each rank's
        gradient is that of its own part, so the gradients of the group add up to the whole one.
        """
        rows, length = input_ids.shape
        width = -(-length // self._size)
        first = self._rank * width
        part = F.pad(input_ids, (0, width * self._size - length))[:, first : first + width]
        row, column = positions // length, positions % length
        owner = column // width
        own = owner == self._rank
        position_ids = torch.arange(first, first + width, device=part.device).expand(rows, -1)
        found = compute(part, row[own] * width + column[own] - first, targets[own], position_ids=position_ids)
        logprobs, entropies = _Gathered.apply(torch.stack(found), owner, self._group)
        return logprobs, entropies

    def _attend(
        self, layer: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: None, **options: Any
    ) -> tuple[Tensor, None]:
        """Return the attention [B, L, heads, D] of a part of L tokens; `query`, `key` and `value` are [B, heads, L, D]."""
        if options.get("softcap") or options.get("s_aux") is not None:
            raise ValueError("learner.sequence_parallel cannot compute capped attention scores or attention sinks")
        # Each rank needs a key head: where there are fewer, copies.
        key, value = (heads.repeat_interleave(max(1, self._size // heads.shape[1]), dim=1) for heads in (key, value))
        parts = (heads.transpose(1, 2) for heads in (query, key, value))
        scale, window = options.get("scaling"), options.get("sliding_window")
        return self._attention(*parts, 0, scale=scale, window=window), None


class CausalAttention(nn.Module):
    """Causal attention of whole sequences; [B, L, heads, D] in and out."""

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, *, scale: float | None = None, window: int | None = None
    ) -> Tensor:
        """Return the attention, over at most `window` tokens if given."""
        length, mask = query.shape[1], None
        if window and window < length:
            index = torch.arange(length, device=query.device)
            distance = index[:, None] - index
            mask = (distance >= 0) & (distance < window)
        query, key, value = (heads.transpose(1, 2) for heads in (query, key, value))
        attended = F.scaled_dot_product_attention(
            query, key, value, attn_mask=mask, is_causal=mask is None, scale=scale, enable_gqa=True
        )
        return attended.transpose(1, 2).contiguous()


class _Gathered(torch.autograd.Function):
    """The values [K, N] of all N positions, from each rank's values [K, n] of its own."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, owner: Tensor, group: dist.ProcessGroup) -> Tensor:
        """Gather the values; `owner` [N] is the rank in the group that has a position."""
        ranks = dist.get_world_size(group)
        counts = owner.bincount(minlength=ranks).tolist()
        sent = F.pad(values, (0, max(counts) - values.shape[1]))
        received = [torch.empty_like(sent) for _ in range(ranks)]
        dist.all_gather(received, sent.contiguous(), group=group)
        whole = values.new_empty(len(values), len(owner))
        for rank, (count, part) in enumerate(zip(counts, received, strict=True)):
            whole[:, owner == rank] = part[:, :count]
        ctx.own = owner == dist.get_rank(group)
        return whole

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        """Return the gradient of the rank's own values."""
        return gradients[0][:, ctx.own], None, None
