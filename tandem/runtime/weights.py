"""How weights are laid out on their way from the learner to the engines, and the message that announces them.

The learner sends them bucket by bucket (under ZeRO-3 a bucket is what is gathered at a time, so buckets are sized by full
element counts).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import torch

SHM, NCCL, IPC = TRANSPORTS = ("shm", "nccl", "ipc")
"""The ways to the engines: shared memory on the host, and vLLM's own weight transfer between GPUs and on one."""
ALIGNMENT = 64
"""Bytes. Every tensor starts on a cache line, whatever its dtype."""


@dataclass(frozen=True)
class TensorSpec:
    """Where one tensor lies in the segment: its name in the Hugging Face checkpoint, dtype name, shape and byte range."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    offset: int
    nbytes: int


@dataclass(frozen=True)
class WeightLayout:
    """The table of contents of a segment."""

    tensors: tuple[TensorSpec, ...]

    @property
    def nbytes(self) -> int:
        """The segment's size in bytes."""
        return max((t.offset + t.nbytes for t in self.tensors), default=0)

    def buckets(self, max_bytes: int) -> Iterator[tuple[TensorSpec, ...]]:
        """Consecutive tensors in groups of at most `max_bytes`; a larger tensor is a bucket of its own."""
        bucket: list[TensorSpec] = []
        size = 0
        for tensor in self.tensors:
            if bucket and size + tensor.nbytes > max_bytes:
                yield tuple(bucket)
                bucket, size = [], 0
            bucket.append(tensor)
            size += tensor.nbytes
        if bucket:
            yield tuple(bucket)


def lay_out(tensors: Iterable[tuple[str, tuple[int, ...], torch.dtype]]) -> WeightLayout:
    """The layout of tensors given as (name, full shape, dtype), in that order.

    Shapes are the full ones: a ZeRO-3 parameter must report `ds_shape`, since its own `numel()` is 0 until it is gathered.
    """
    specs: list[TensorSpec] = []
    offset = 0
    for name, shape, dtype in tensors:
        nbytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        specs.append(TensorSpec(name, str(dtype).removeprefix("torch."), tuple(shape), offset, nbytes))
        offset += -(-nbytes // ALIGNMENT) * ALIGNMENT
    return WeightLayout(tuple(specs))


@dataclass(frozen=True)
class PublishedWeights:
    """What the learner tells an engine: version `version` is there, and how it got there."""

    version: int
    transport: str
    """`shm`: the engine fetches the weights from the segment at `path`; `nccl`, `ipc`: they are in the engine already"""
    path: str = ""
    layout: WeightLayout = WeightLayout(())
    checksum: int = 0
    """of the segment: an engine that maps other bytes refuses them"""

    def encode(self) -> str:
        """As JSON, for messages that carry only plain types."""
        # Not by dataclasses.asdict: that takes some 5 ms, and the weights of a small model are copied in 30.
        return json.dumps(vars(self) | {"layout": [[*vars(spec).values()] for spec in self.layout.tensors]})

    @classmethod
    def decode(cls, text: str) -> PublishedWeights:
        """The inverse of `encode`."""
        fields = json.loads(text)
        tensors = [TensorSpec(name, dtype, tuple(shape), *place) for name, dtype, shape, *place in fields.pop("layout")]
        return cls(layout=WeightLayout(tuple(tensors)), **fields)


def checksum(tensors: Iterable[tuple[str, torch.Tensor]]) -> str:
    """A fingerprint of named tensors, whatever their order: it changes with any name, shape, dtype or byte."""
    digests = []
    for name, tensor in tensors:
        whole = tensor.detach().cpu().contiguous()
        digest = blake2b(f"{name} {whole.dtype} {tuple(whole.shape)}".encode(), digest_size=16)
        digest.update(whole.reshape(-1).view(torch.uint8).numpy().data)
        digests.append(digest.digest())
    return blake2b(b"".join(sorted(digests)), digest_size=16).hexdigest()
