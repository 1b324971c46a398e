"""Publication of the learner's weights: to the engines, or to a directory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import deepspeed
from ray.actor import ActorHandle
from torch import Tensor
from transformers import GenerationConfig, PreTrainedModel
from transformers.utils import GENERATION_CONFIG_NAME

from learner.gather import GatheredWeights
from learner.transport import Transport
from learner.transport.shm import SharedMemory
from tandem.models.loading import load_tokenizer
from tandem.runtime.disk import require_room
from tandem.runtime.weights import SHM, PublishedWeights

if TYPE_CHECKING:
    from learner.adapter import Adapter


ADAPTER = "adapter"
"""The folder of the adapter in an exported senior's."""


class Publisher:
    """Publishes the weights of `model`, which ZeRO may have partitioned, by `transport`; `shm` uses the segment file `path`.

    An `adapter` is merged into them; with `adapter_alone`, only the adapter is published. Every method is collective. Rank 0
    sends; `shm` copies with `threads` threads. The engines have `engine_gpus` GPUs each.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        path: Path,
        adapter: Adapter | None = None,
        *,
        adapter_alone: bool = False,
        bucket_bytes: int,
        rank: int = 0,
        transport: str = SHM,
        threads: int = 1,
        engine_gpus: int = 1,
    ) -> None:
        self._model, self._rank = model, rank
        self._adapter = adapter
        self._weights = GatheredWeights(model, bucket_bytes, adapter)
        synced = GatheredWeights(model, bucket_bytes, adapter, alone=True) if adapter_alone else self._weights
        self._transport: Transport
        if transport == SHM:
            self._transport = SharedMemory(synced, path, writer=rank == 0, threads=threads)
        else:
            # Imported here: vLLM takes seconds to import, and shared memory does not need it.
            from learner.transport.device import DeviceTransport

            self._transport = DeviceTransport(transport, synced, bucket_bytes, rank, engine_gpus)

    def connect(self, engines: Sequence[ActorHandle]) -> None:
        """Connect to the rollout actors that receive the weights."""
        self._transport.connect(engines)

    def publish(self, version: int) -> PublishedWeights | None:
        """Send the current weights as `version`. Return what the engines need to load them; None on all ranks but 0.

        The engines must have loaded the previous version.
        """
        return self._transport.send(version)

    def export(self, path: Path, base_path: str, *, merged: bool = True) -> None:
        """Write a Hugging Face directory: the weights, the configuration and the tokenizer of the base model `base_path`.

        An adapter is merged into the weights, and written alone as a PEFT directory to `ADAPTER` in it; unless `merged`, only
        the PEFT directory is written, to `path`. Raises `OSError` if the disk has no room for the weights, after all ranks have
        gathered them.
        """
        merged = merged or not self._adapter
        adapter = self._adapter_tensors()
        state = {spec.name: tensor.to("cpu", copy=True) for spec, tensor in self._weights if self._rank == 0} if merged else {}
        if self._rank == 0:
            path.mkdir(parents=True, exist_ok=True)
            require_room(path, sum(tensor.nbytes for tensor in [*state.values(), *adapter.values()]))
            if merged:
                # The weights have the checkpoint's names already.
                with _generation_config_unchanged(self._model, path):
                    self._model.save_pretrained(path, state_dict=state, save_original_format=False)
            load_tokenizer(base_path).save_pretrained(path)
            if self._adapter:
                self._adapter.save(path / ADAPTER if merged else path, adapter)

    def _adapter_tensors(self) -> dict[str, Tensor]:
        """Return copies of the adapter's whole tensors by their names in a PEFT directory; nothing without an adapter."""
        parameters = self._adapter.named_parameters() if self._adapter else {}
        with deepspeed.zero.GatheredParameters(list(parameters.values())):
            return {name: parameter.detach().to("cpu", copy=True) for name, parameter in parameters.items()}

    def close(self) -> None:
        """Release the transport's resources."""
        self._transport.close()


@contextmanager
def _generation_config_unchanged(model: PreTrainedModel, folder: Path) -> Iterator[None]:
    """After the block, write the generation configuration to `folder` exactly as it was loaded.

    transformers loads a configuration whose values contradict each other, such as a temperature without sampling, but refuses
    to save it.
    """
    original = model.generation_config
    if original is None:
        yield
        return
    model.generation_config = GenerationConfig()
    try:
        yield
    finally:
        model.generation_config = original
    original.to_json_file(folder / GENERATION_CONFIG_NAME)
