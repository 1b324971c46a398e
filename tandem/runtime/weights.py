"""The layout of weights between learner and engines, and the message that announces them.

The learner sends weights bucket by bucket. Bucket sizes are those of whole tensors, which ZeRO-3 gathers.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import xxhash

if TYPE_CHECKING:  # it takes seconds to import
    import torch

SHM, NCCL, IPC = TRANSPORTS = ("shm", "nccl", "ipc")
"""Transports: shared memory on the host, and vLLM's weight transfer between GPUs and within one GPU."""
ALIGNMENT = 64
"""Bytes. Every tensor starts on a cache line, whatever its dtype."""


@dataclass(frozen=True)
class TensorSpec:
    """One tensor of the segment: its name in the Hugging Face checkpoint, dtype name, shape and byte range."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    offset: int
    nbytes: int


@dataclass(frozen=True)
class WeightLayout:
    """The tensors of a segment."""

    tensors: tuple[TensorSpec, ...]

    @property
    def nbytes(self) -> int:
        """Return the segment's size in bytes."""
        return max((t.offset + t.nbytes for t in self.tensors), default=0)

    def buckets(self, max_bytes: int) -> Iterator[tuple[TensorSpec, ...]]:
        """Yield consecutive tensors in groups of at most `max_bytes`. A larger tensor is a bucket by itself."""
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
    """Return the layout of tensors given as (name, full shape, dtype), in that order.

    The full shape of a ZeRO-3 parameter is `ds_shape`: its `numel()` is 0 until it is gathered.
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
    """The announcement of new weights to an engine: the version, and how to load it."""

    version: int
    transport: str
    """`shm`: the engine loads the segment at `path`; `nccl`, `ipc`: the engine has received the weights"""
    path: str = ""
    layout: WeightLayout = WeightLayout(())
    """of the tensors that are sent"""
    checksum: int = 0
    """checksum of the segment; an engine that maps other bytes raises an error"""

    def encode(self) -> str:
        """Return the message as JSON."""
        # dataclasses.asdict would take 5 ms, while the weights of a small model are copied in 30.
        return json.dumps(vars(self) | {"layout": [[*vars(spec).values()] for spec in self.layout.tensors]})

    @classmethod
    def decode(cls, text: str) -> PublishedWeights:
        """Return the message that `encode` wrote."""
        fields = json.loads(text)
        tensors = [TensorSpec(name, dtype, tuple(shape), *extent) for name, dtype, shape, *extent in fields.pop("layout")]
        return cls(layout=WeightLayout(tuple(tensors)), **fields)


def checksum(tensors: Iterable[tuple[str, torch.Tensor]]) -> str:
    """Return a fingerprint of named tensors: XXH3 of every name, shape, dtype and byte, in any order of the tensors."""
    import torch

    digests = []
    for name, tensor in tensors:
        whole = tensor.detach().cpu().contiguous()
        digest = xxhash.xxh3_128(f"{name} {whole.dtype} {tuple(whole.shape)}".encode())
        digest.update(whole.reshape(-1).view(torch.uint8).numpy().data)
        digests.append(digest.digest())
    return xxhash.xxh3_128_hexdigest(b"".join(sorted(digests)))
