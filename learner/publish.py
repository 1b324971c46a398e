"""The learner's weights on their way out: to the engines, or to a directory."""

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
    """Publishes the weights of `model`, perhaps partitioned by ZeRO, by `transport`; to the segment file `path` if it is `shm`.

    Every method is collective: all ranks must call it, and rank 0 sends, from `threads` threads.
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
            # Imported here: vLLM takes seconds, and shared memory does without.
            from learner.transport.device import DeviceTransport

            self._transport = DeviceTransport(transport, self._weights, bucket_bytes, rank)

    def connect(self, engines: Sequence[ActorHandle]) -> None:
        """Meets the engines' actors (see `Transport.connect`)."""
        self._transport.connect(engines)

    def publish(self, version: int) -> PublishedWeights | None:
        """Sends the present weights; what the engines must know, or None on ranks other than 0.

        The engines must be done with the version before.
        """
        return self._transport.send(version)

    def export(self, path: Path, tokenizer_path: str) -> None:
        """Writes a Hugging Face directory: the weights, the configuration and the tokenizer of `tokenizer_path`.

        Raises `OSError` where the disk has no room for the weights, once all ranks have gathered them.
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
        """Leaves nothing behind in shared memory."""
        self._transport.close()


@contextmanager
def _generation_config_unchanged(model: PreTrainedModel, folder: Path) -> Iterator[None]:
    """Write the model's generation configuration to `folder` after the block, as it was loaded.

    transformers loads one whose values contradict each other, such as a temperature without sampling, but refuses to save it.
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
