"""Publication of the learner's weights: to the engines, or to a directory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ray.actor import ActorHandle
from transformers import GenerationConfig, PreTrainedModel
from transformers.utils import GENERATION_CONFIG_NAME

from learner.gather import GatheredWeights
from learner.transport import Transport
from learner.transport.shm import SharedMemory
from tandem.models.loading import load_tokenizer
from tandem.runtime.disk import require_room
from tandem.runtime.weights import SHM, PublishedWeights


class Publisher:
    """Publishes the weights of `model`, which ZeRO may have partitioned, by `transport`; `shm` uses the segment file `path`.

    Every method is collective. Rank 0 sends; `shm` copies with `threads` threads.
    """

    def __init__(
        self, model: PreTrainedModel, path: Path, *, bucket_bytes: int, rank: int = 0, transport: str = SHM, threads: int = 1
    ) -> None:
        self._model, self._rank = model, rank
        self._weights = GatheredWeights(model, bucket_bytes)
        self._transport: Transport
        if transport == SHM:
            self._transport = SharedMemory(self._weights, path, writer=rank == 0, threads=threads)
        else:
            # Imported here: vLLM takes seconds to import, and shared memory does not need it.
            from learner.transport.device import DeviceTransport

            self._transport = DeviceTransport(transport, self._weights, bucket_bytes, rank)

    def connect(self, engines: Sequence[ActorHandle]) -> None:
        """Connect to the rollout actors that receive the weights."""
        self._transport.connect(engines)

    def publish(self, version: int) -> PublishedWeights | None:
        """Send the current weights as `version`. Return what the engines need to load them; None on all ranks but 0.

        The engines must have loaded the previous version.
        """
        return self._transport.send(version)

    def export(self, path: Path, tokenizer_path: str) -> None:
        """Write a Hugging Face directory: the weights, the configuration and the tokenizer of `tokenizer_path`.

        Raises `OSError` if the disk has no room for the weights, after all ranks have gathered them.
        """
        state = {spec.name: tensor.to("cpu", copy=True) for spec, tensor in self._weights if self._rank == 0}
        if self._rank == 0:
            path.mkdir(parents=True, exist_ok=True)
            require_room(path, sum(tensor.nbytes for tensor in state.values()))
            # The weights have the checkpoint's names already.
            with _generation_config_unchanged(self._model, path):
                self._model.save_pretrained(path, state_dict=state, save_original_format=False)
            load_tokenizer(tokenizer_path).save_pretrained(path)

    def close(self) -> None:
        """Release the transport's resources."""
        self._transport.close()


@contextmanager
def _generation_config_unchanged(model: PreTrainedModel, folder: Path) -> Iterator[None]:
    """After the block, write the generation configuration to `folder` exactly as it was loaded.

    transformers loads a configuration whose values contradict each other, such as a temperature without sampling, but refuses
    to save it.
    """
    given = model.generation_config
    if given is None:
        yield
        return
    model.generation_config = GenerationConfig()
    try:
        yield
    finally:
        model.generation_config = given
    given.to_json_file(folder / GENERATION_CONFIG_NAME)
