"""How weights travel from the learner to the engines: one flat segment, laid out once, read by every engine on the host.

The learner writes the segment bucket by bucket (under ZeRO-3 a bucket is what is gathered at a time, so buckets are sized by
full element counts); an engine maps it and hands its loader tensors that alias the mapping: nothing is copied in between.
"""

from __future__ import annotations

import errno
import json
import mmap
import os
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
import torch

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
    """What the learner tells an engine: fetch version `version` from the segment at `path`."""

    version: int
    path: str
    layout: WeightLayout
    checksum: int
    """CRC-32 of the segment: an engine that maps other bytes refuses them"""

    def encode(self) -> str:
        """As JSON, for messages that carry only plain types."""
        return json.dumps(asdict(self))

    @classmethod
    def decode(cls, text: str) -> PublishedWeights:
        """The inverse of `encode`."""
        fields = json.loads(text)
        tensors = tuple(TensorSpec(**{**t, "shape": tuple(t["shape"])}) for t in fields.pop("layout")["tensors"])
        return cls(layout=WeightLayout(tensors), **fields)


class WeightSegment:
    """A memory-mapped file (in shared memory) that holds the weights of one layout.

    Raises `ValueError` when an existing file is shorter than the layout.
    """

    def __init__(self, path: str | Path, layout: WeightLayout, *, create: bool = False) -> None:
        self.path, self.layout = Path(path), layout
        flags = os.O_RDWR | (os.O_CREAT if create else 0)
        fd = os.open(self.path, flags, 0o600)
        try:
            if create:
                # This fails now where ftruncate would let a later write die of SIGBUS.
                _allocate(fd, self.path, max(layout.nbytes, 1))
            elif os.fstat(fd).st_size < layout.nbytes:
                raise ValueError(f"{path} holds {os.fstat(fd).st_size} bytes; the layout needs {layout.nbytes}")
            self._map = mmap.mmap(fd, max(layout.nbytes, 1))
        finally:
            os.close(fd)
        self._bytes = torch.frombuffer(self._map, dtype=torch.uint8)

    def view(self, spec: TensorSpec) -> torch.Tensor:
        """The tensor `spec` describes, aliasing the mapping."""
        flat = self._bytes[spec.offset : spec.offset + spec.nbytes]
        return flat.view(getattr(torch, spec.dtype)).view(spec.shape)

    def tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
        """(name, view) of every tensor, in the layout's order."""
        for spec in self.layout.tensors:
            yield spec.name, self.view(spec)

    def checksum(self) -> int:
        """CRC-32 of all bytes."""
        return zlib.crc32(self._map)


def _allocate(fd: int, path: Path, nbytes: int) -> None:
    try:
        os.posix_fallocate(fd, 0, nbytes)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        path.unlink()
        room = f"no room for {nbytes / 2**20:.0f} MiB of weights; enlarge {path.parent} (Docker: --shm-size)"
        raise OSError(errno.ENOSPC, room) from error


def checksum(tensors: Iterable[tuple[str, torch.Tensor]]) -> str:
    """A fingerprint of named tensors, whatever their order: it changes with any name, shape, dtype or byte."""
    digests = []
    for name, tensor in tensors:
        whole = tensor.detach().cpu().contiguous()
        digest = blake2b(f"{name} {whole.dtype} {tuple(whole.shape)}".encode(), digest_size=16)
        digest.update(whole.reshape(-1).view(torch.uint8).numpy().data)
        digests.append(digest.digest())
    return blake2b(b"".join(sorted(digests)), digest_size=16).hexdigest()
