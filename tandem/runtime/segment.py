"""Weights in shared memory: one flat file that the learner writes and every engine on the host maps.

An engine hands its loader tensors that alias the mapping: nothing is copied in between.
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
"""What is copied at a time, or hashed: little enough to be in the core's own cache still when it is hashed after its copy."""


def segment_folder() -> Path:
    """Return where segments lie: in shared memory, or in the temporary folder where there is none."""
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
        "--shm-size, or mount -o remount,size=), or remove what others left there"
    )


class Piece(NamedTuple):
    """A part of one tensor: bytes `start` to `end` of the segment, whose tensor begins at `first`; `place` counts pieces."""

    place: int
    first: int
    start: int
    end: int


class WeightSegment:
    """A memory-mapped file (in shared memory) that holds the weights of one layout.

    `threads` copy and hash. All pages are there from the beginning, so that no publishing waits for the kernel to find them.
    Raises `ValueError` when an existing file is shorter than the layout, and `ConfigError` when there is no room for a new one.
    """

    def __init__(self, path: str | Path, layout: WeightLayout, *, create: bool = False, threads: int = 1) -> None:
        self.path, self.layout = Path(path), layout
        flags = os.O_RDWR | (os.O_CREAT if create else 0)
        fd = os.open(self.path, flags, 0o600)
        try:
            if create:
                # This fails now where ftruncate would let a later write die of SIGBUS.
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
        """The tensor `spec` describes, aliasing the mapping."""
        flat = torch.from_numpy(self._bytes[spec.offset : spec.offset + spec.nbytes])
        return flat.view(getattr(torch, spec.dtype)).view(spec.shape)

    def tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
        """(name, view) of every tensor, in the layout's order."""
        for spec in self.layout.tensors:
            yield spec.name, self.view(spec)

    def write(self, tensors: Sequence[tuple[TensorSpec, torch.Tensor]]) -> None:
        """Copies `tensors`, each of its spec's shape and dtype and on any device, to their places."""
        work: list[tuple[Piece, np.ndarray]] = []
        for spec, tensor in tensors:
            source = tensor.detach().contiguous().cpu().view(-1).view(torch.uint8).numpy()
            work += ((piece, source) for piece in self._pieces[spec.name])

        def copy(piece: Piece, source: np.ndarray) -> None:
            place = self._bytes[piece.start : piece.end]
            np.copyto(place, source[piece.start - piece.first : piece.end - piece.first])
            self._written[piece.place] = xxhash.xxh3_64_intdigest(place.data)

        self._share(copy, work)

    @property
    def written(self) -> int:
        """The checksum of what was last written to each place."""
        return xxhash.xxh3_64_intdigest(self._written.data)

    def checksum(self) -> int:
        """The checksum of what the segment holds: the XXH3 of every piece of a tensor, and of these hashes in turn."""
        found = np.zeros_like(self._written)

        def read(piece: Piece) -> None:
            found[piece.place] = xxhash.xxh3_64_intdigest(self._bytes[piece.start : piece.end].data)

        self._share(read, [(piece,) for pieces in self._pieces.values() for piece in pieces])
        return xxhash.xxh3_64_intdigest(found.data)

    def _share(self, do: Callable[..., None], work: Sequence[tuple]) -> None:
        """Has the threads call `do` with each of `work`. Copying and hashing let go of the interpreter."""
        left = iter(work)  # of which each thread takes the next when it is done with one

        def help_out(_: int) -> None:
            for arguments in left:
                do(*arguments)

        list(self._pool.map(help_out, range(self._threads)))


def _cut(layout: WeightLayout) -> dict[str, list[Piece]]:
    """Every tensor's pieces, by its name."""
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
