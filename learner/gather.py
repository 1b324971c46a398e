"""Gathering of the senior's whole weights from the ranks of ZeRO-3, at most one bucket at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING

import deepspeed
import torch
from torch import Tensor
from transformers import PreTrainedModel

from learner.checkpoint_format import CheckpointFormat
from tandem.runtime.weights import TensorSpec, lay_out

if TYPE_CHECKING:
    from learner.adapter import Adapter

Whole = Sequence[tuple[TensorSpec, Tensor]]
"""Whole tensors with their specs."""


class GatheredWeights:
    """The whole weights of `model`, which ZeRO may have partitioned: at most `bucket_bytes` at a time, or the largest tensor.

    Half a bucket is gathered while the other half is sent. The tensors are those of the Hugging Face checkpoint; of tied
    tensors only the first is listed. An `adapter` is merged into them; if it is `alone`, its own tensors take their place, with
    their names in a PEFT directory. Iteration and `stream` are collective. Raises `ConfigError` for a model whose checkpoint's
    tensors cannot be produced one at a time.
    """

    def __init__(
        self, model: PreTrainedModel, bucket_bytes: int, adapter: Adapter | None = None, *, alone: bool = False
    ) -> None:
        self._bucket_bytes, self._adapter = bucket_bytes, None if alone else adapter
        if adapter:
            self._parameters = adapter.named_parameters() if alone else adapter.base
        else:
            self._parameters = dict(model.named_parameters())
        self._held = lay_out((name, tuple(getattr(p, "ds_shape", p.shape)), p.dtype) for name, p in self._parameters.items())
        whole = {
            spec.name: torch.empty(spec.shape, dtype=getattr(torch, spec.dtype), device="meta") for spec in self._held.tensors
        }
        self._saved = _unchanged if alone else CheckpointFormat(model, whole).saved
        saved = [saved for name, tensor in whole.items() for saved in self._saved(name, tensor)]
        self.layout = lay_out((name, tuple(tensor.shape), tensor.dtype) for name, tensor in saved)
        self._specs = {spec.name: spec for spec in self.layout.tensors}

    def __iter__(self) -> Iterator[tuple[TensorSpec, Tensor]]:
        """Yield every tensor in the layout's order. A tensor keeps its memory after its half is released."""
        for half in self._halves():
            with ExitStack() as gathered:
                yield from self._gather(half, gathered)

    def stream(self, send: Callable[[Whole], None]) -> None:
        """Call `send` with every half in order, on a second thread, while this thread gathers the next half.

        Raises what `send` raises.
        """
        with ThreadPoolExecutor(1, "send") as sender:
            sending: list[tuple[Future[None], ExitStack, int]] = []

            def settle() -> None:
                """Wait for the current `send` and release its tensors."""
                for sent, gathered, _ in sending:
                    with gathered:
                        sent.result()
                sending.clear()

            def begin(half: Sequence[TensorSpec]) -> None:
                """Gather `half` during the current `send`, then start sending it."""
                nbytes = sum(map(self._nbytes, half))
                if sending and sending[0][2] + nbytes > self._bucket_bytes:
                    settle()  # a tensor larger than half a bucket: there is no room for both
                gathered = ExitStack()
                whole = self._gather(half, gathered)
                settle()
                sending.append((sender.submit(send, whole), gathered, nbytes))

            for half in self._halves():
                begin(half)
            settle()

    def _halves(self) -> Iterator[tuple[TensorSpec, ...]]:
        return self._held.buckets(self._bucket_bytes // (4 if self._adapter else 2))

    def _nbytes(self, spec: TensorSpec) -> int:
        """Return the memory of a gathered tensor: twice its size if an adapter is merged into a copy of it."""
        return spec.nbytes * (1 + (self._adapter is not None and self._adapter.changes(spec.name)))

    def _gather(self, half: Sequence[TensorSpec], gathered: ExitStack) -> Whole:
        """Return the tensors of `half`, whole until `gathered` closes."""
        parameters = [self._parameters[spec.name] for spec in half]
        others = [each for spec in half for each in self._adapter.parameters(spec.name)] if self._adapter else []
        gathered.enter_context(deepspeed.zero.GatheredParameters(parameters + others))
        saved = [
            each
            for spec, parameter in zip(half, parameters, strict=True)
            for each in self._saved(spec.name, self._merged(spec.name, parameter.detach()))
        ]
        return [(self._specs[name], tensor) for name, tensor in saved]

    def _merged(self, name: str, base: Tensor) -> Tensor:
        return self._adapter.merged(name, base) if self._adapter else base


def _unchanged(name: str, tensor: Tensor) -> list[tuple[str, Tensor]]:
    return [(name, tensor)]
