"""The senior's whole weights, gathered from the ranks that ZeRO-3 spread them over: never more than a bucket at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack

import deepspeed
import torch
from torch import Tensor
from transformers import PreTrainedModel

from learner.checkpoint_format import CheckpointFormat
from tandem.runtime.weights import TensorSpec, lay_out

Whole = Sequence[tuple[TensorSpec, Tensor]]
"""Tensors as they are on all ranks together."""


class GatheredWeights:
    """The whole weights of `model`, perhaps partitioned by ZeRO: at most `bucket_bytes` at a time, or the largest tensor.

    They are gathered half a bucket at a time, so that one half can arrive while the other is sent. Tensors are those of the
    Hugging Face checkpoint, which a model may hold otherwise; of tied tensors only the first is listed. Both ways to go through
    them are collective. Raises `ValueError` for a model that cannot be brought into that form a tensor at a time.
    """

    def __init__(self, model: PreTrainedModel, bucket_bytes: int) -> None:
        self._bucket_bytes = bucket_bytes
        self._parameters = dict(model.named_parameters())
        self._held = lay_out((name, tuple(getattr(p, "ds_shape", p.shape)), p.dtype) for name, p in self._parameters.items())
        whole = {
            spec.name: torch.empty(spec.shape, dtype=getattr(torch, spec.dtype), device="meta") for spec in self._held.tensors
        }
        self._format = CheckpointFormat(model, whole)
        saved = [saved for name, tensor in whole.items() for saved in self._format.saved(name, tensor)]
        self.layout = lay_out((name, tuple(tensor.shape), tensor.dtype) for name, tensor in saved)
        self._specs = {spec.name: spec for spec in self.layout.tensors}

    def __iter__(self) -> Iterator[tuple[TensorSpec, Tensor]]:
        """Every tensor, in the layout's order. Its memory lives as long as the tensor, even if its half is let go of."""
        for half in self._halves():
            with ExitStack() as gathered:
                yield from self._gather(half, gathered)

    def stream(self, send: Callable[[Whole], None]) -> None:
        """Hands everything in order to `send`, on a thread of its own, while this thread gathers what comes next.

        Raises what `send` raises.
        """
        with ThreadPoolExecutor(1, "send") as sender:
            going: list[tuple[Future[None], ExitStack, int]] = []

            def settle() -> None:
                """Waits until what is being sent has gone, and lets go of it."""
                for sent, gathered, _ in going:
                    with gathered:
                        sent.result()
                going.clear()

            def begin(half: Sequence[TensorSpec]) -> None:
                """Gathers `half` beside what is being sent, and sends it next."""
                nbytes = sum(spec.nbytes for spec in half)
                if going and going[0][2] + nbytes > self._bucket_bytes:
                    settle()  # a tensor larger than half a bucket: there is no room for both
                gathered = ExitStack()
                whole = self._gather(half, gathered)
                settle()
                going.append((sender.submit(send, whole), gathered, nbytes))

            for half in self._halves():
                begin(half)
            settle()

    def _halves(self) -> Iterator[tuple[TensorSpec, ...]]:
        return self._held.buckets(self._bucket_bytes // 2)

    def _gather(self, half: Sequence[TensorSpec], gathered: ExitStack) -> Whole:
        """The tensors of `half`, whole until `gathered` closes."""
        parameters = [self._parameters[spec.name] for spec in half]
        gathered.enter_context(deepspeed.zero.GatheredParameters(parameters))
        saved = [
            each
            for spec, parameter in zip(half, parameters, strict=True)
            for each in self._format.saved(spec.name, parameter.detach())
        ]
        return [(self._specs[name], tensor) for name, tensor in saved]
