"""Weights in shared memory: one flat file that the learner writes and every engine on the host maps.

The tensors that an engine loads alias the mapping, so nothing is copied in between.
"""

from __future__ import annotations

import mmap
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import xxhash

from tandem.config.schema import ConfigError
from tandem.runtime.disk import disk_full, unwritable
from tandem.runtime.weights import TensorSpec, WeightLayout

SHARED_MEMORY = Path("/dev/shm")
PIECE_BYTES = 512 << 10
"""Size of a piece: small enough to be in the core's cache when it is hashed after its copy."""


def segment_folder() -> Path:
    """Return the folder of segments: shared memory, or the temporary folder if there is none."""
    usable = SHARED_MEMORY.is_dir() and not unwritable(SHARED_MEMORY)
    return SHARED_MEMORY if usable else Path(tempfile.gettempdir())


def check_segment_room(nbytes: int) -> None:
    """Raise `ConfigError` when `segment_folder` has no room for `nbytes` of weights."""
    folder = segment_folder()
    if shutil.disk_usage(folder).free < nbytes:
        raise _no_room(folder, nbytes)


def _no_room(folder: Path, nbytes: int) -> ConfigError:
    """Return the error of `nbytes` of weights for which `folder` has no room."""
    needed, free = (f"{size / 2**20:,.0f} MiB" for size in (nbytes, shutil.disk_usage(folder).free))
    return ConfigError(
        f"learner.transport=shm: the senior's weights take {needed} of {folder}, and {free} are free; enlarge it (docker run "
        "--shm-size, or mount -o remount,size=), or remove files that other programs left there"
    )


class Piece(NamedTuple):
    """Bytes `start` to `end` of the segment, a part of the tensor that begins at `first`; `number` counts all pieces."""

    number: int
    first: int
    start: int
    end: int


class WeightSegment:
    """A memory-mapped file (in shared memory) that holds the weights of one layout.

    `threads` threads copy and hash. All pages are allocated at once, so that no publication waits for page faults.
    Raises `ValueError` when an existing file is shorter than the layout, and `ConfigError` when there is no room for a new one.
    """

    def __init__(self, path: str | Path, layout: WeightLayout, *, create: bool = False, threads: int = 1) -> None:
        self.path, self.layout = Path(path), layout
        flags = os.O_RDWR | (os.O_CREAT if create else 0)
        fd = os.open(self.path, flags, 0o600)
        try:
            if create:
                # This fails now; after ftruncate a later write would be killed by SIGBUS.
                _allocate(fd, self.path, max(layout.nbytes, 1))
            elif os.fstat(fd).st_size < layout.nbytes:
                raise ValueError(f"{path} holds {os.fstat(fd).st_size} bytes; the layout needs {layout.nbytes}")
            self._map = mmap.mmap(fd, max(layout.nbytes, 1), flags=mmap.MAP_SHARED | mmap.MAP_POPULATE)
        finally:
            os.close(fd)
        self._bytes = np.frombuffer(self._map, np.uint8)
        self._pieces = _cut(layout)
        count = sum(map(len, self._pieces.values()))
        self._written = np.zeros(count, np.uint64)
        self._pool, self._threads = ThreadPoolExecutor(threads, "segment"), threads

    def view(self, spec: TensorSpec) -> torch.Tensor:
        """Return the tensor that `spec` describes, which aliases the mapping."""
        flat = torch.from_numpy(self._bytes[spec.offset : spec.offset + spec.nbytes])
        return flat.view(getattr(torch, spec.dtype)).view(spec.shape)

    def tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Yield the name and the view of every tensor, in the layout's order."""
        for spec in self.layout.tensors:
            yield spec.name, self.view(spec)

    def write(self, tensors: Sequence[tuple[TensorSpec, torch.Tensor]]) -> None:
        """Copy `tensors`, each of its spec's shape and dtype and on any device, into the segment."""
        work: list[tuple[Piece, np.ndarray]] = []
        for spec, tensor in tensors:
            source = tensor.detach().contiguous().cpu().view(-1).view(torch.uint8).numpy()
            work += ((piece, source) for piece in self._pieces[spec.name])

        def copy(piece: Piece, source: np.ndarray) -> None:
            target = self._bytes[piece.start : piece.end]
            np.copyto(target, source[piece.start - piece.first : piece.end - piece.first])
            self._written[piece.number] = xxhash.xxh3_64_intdigest(target.data)

        self._share(copy, work)

    @property
    def written_checksum(self) -> int:
        """Return the checksum of the last write to each piece."""
        return xxhash.xxh3_64_intdigest(self._written.data)

    def checksum(self) -> int:
        """Return the checksum of the segment's bytes: XXH3 of the XXH3 hashes of all pieces."""
        hashes = np.zeros_like(self._written)

        def read(piece: Piece) -> None:
            hashes[piece.number] = xxhash.xxh3_64_intdigest(self._bytes[piece.start : piece.end].data)

        self._share(read, [(piece,) for pieces in self._pieces.values() for piece in pieces])
        return xxhash.xxh3_64_intdigest(hashes.data)

    def _share(self, do: Callable[..., None], work: Sequence[tuple]) -> None:
        """Call `do` with each item of `work`, in all threads. Copying and hashing release the interpreter lock."""
        remaining = iter(work)  # shared by the threads

        def run(_: int) -> None:
            for arguments in remaining:
                do(*arguments)

        list(self._pool.map(run, range(self._threads)))


def _cut(layout: WeightLayout) -> dict[str, list[Piece]]:
    """Return the pieces of every tensor, by its name."""
    pieces: dict[str, list[Piece]] = {}
    count = 0
    for spec in layout.tensors:
        end = spec.offset + spec.nbytes
        starts = range(spec.offset, end, PIECE_BYTES)
        pieces[spec.name] = [
            Piece(count + i, spec.offset, start, min(start + PIECE_BYTES, end)) for i, start in enumerate(starts)
        ]
        count += len(starts)
    return pieces


def _allocate(fd: int, path: Path, nbytes: int) -> None:
    try:
        os.posix_fallocate(fd, 0, nbytes)
    except OSError as error:
        if not disk_full(error):
            raise
        path.unlink()
        raise _no_room(path.parent, nbytes) from error
