"""The learner's weights on their way out, gathered bucket by bucket: to a segment for the engines, or to a directory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import deepspeed
from torch import Tensor
from transformers import AutoTokenizer, PreTrainedModel

from tandem.weights import PublishedWeights, TensorSpec, WeightSegment, lay_out


class Publisher:
    """Publishes the weights of `model`, perhaps partitioned by ZeRO, to the segment file `path`.

    Names are those of the Hugging Face checkpoint; of tied tensors only the first is listed. Every method is collective: all
    ranks must call it, and rank 0 (`writer`) writes.
    """

    def __init__(self, model: PreTrainedModel, path: Path, *, bucket_bytes: int, writer: bool) -> None:
        self._model, self._path, self._bucket_bytes, self._writer = model, path, bucket_bytes, writer
        self._parameters = dict(model.named_parameters())
        self._layout = lay_out((name, tuple(getattr(p, "ds_shape", p.shape)), p.dtype) for name, p in self._parameters.items())
        self._segment: WeightSegment | None = None

    def publish(self, version: int) -> PublishedWeights | None:
        """Rewrites the segment with the present weights; what the engines must know, or None on ranks that do not write.

        The engines must be done with the version before.
        """
        if self._writer and self._segment is None:
            self._segment = WeightSegment(self._path, self._layout, create=True)
        for spec, tensor in self._gathered():
            if self._segment is not None:
                self._segment.view(spec).copy_(tensor)
        if self._segment is None:
            return None
        return PublishedWeights(version, str(self._path), self._layout, self._segment.checksum())

    def export(self, path: Path, tokenizer_path: str) -> None:
        """Writes a Hugging Face directory: the weights, the configuration and the tokenizer of `tokenizer_path`."""
        state = {spec.name: tensor.to("cpu", copy=True) for spec, tensor in self._gathered() if self._writer}
        if self._writer:
            self._model.save_pretrained(path, state_dict=state)
            AutoTokenizer.from_pretrained(tokenizer_path).save_pretrained(path)

    def close(self) -> None:
        """Removes the segment file; engines that still map it keep their mapping."""
        if self._segment is not None:
            self._segment = None
            self._path.unlink(missing_ok=True)

    def _gathered(self) -> Iterator[tuple[TensorSpec, Tensor]]:
        """Every parameter in the layout's order, whole; at most a bucket of them is whole at a time."""
        for bucket in self._layout.buckets(self._bucket_bytes):
            parameters = [self._parameters[spec.name] for spec in bucket]
            with deepspeed.zero.GatheredParameters(parameters):
                for spec, parameter in zip(bucket, parameters, strict=True):
                    yield spec, parameter.detach()
