"""Weights through shared memory, to engines on the same host, with or without a GPU."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ray.actor import ActorHandle

from learner.gather import GatheredWeights, Whole
from tandem.runtime.segment import WeightSegment
from tandem.runtime.weights import SHM, PublishedWeights


class SharedMemory:
    """Overwrites the segment file `path` with every version; the engines must have loaded the previous one.

    On rank 0 (`writer`) `threads` threads copy while the next weights are gathered.
    """

    def __init__(self, weights: GatheredWeights, path: Path, *, writer: bool, threads: int) -> None:
        self._weights, self._path, self._threads, self._writer = weights, path, threads, writer
        self._segment: WeightSegment | None = None

    def connect(self, engines: Sequence[ActorHandle]) -> None:
        """Do nothing: engines find the segment by its path."""

    def send(self, version: int) -> PublishedWeights | None:
        """Write the current weights into the segment. Return None on all ranks but 0."""
        layout = self._weights.layout
        if self._writer and self._segment is None:
            self._segment = WeightSegment(self._path, layout, create=True, threads=self._threads)
        self._weights.stream(self._segment.write if self._segment else _discard)
        if self._segment is None:
            return None
        return PublishedWeights(version, SHM, str(self._path), layout, self._segment.written_checksum)

    def close(self) -> None:
        """Remove the segment file. Engines that still map it keep their mapping."""
        if self._segment is not None:
            self._segment = None
            self._path.unlink(missing_ok=True)


def _discard(whole: Whole) -> None:
    """Discard the weights on a rank that takes part in gathering only."""
