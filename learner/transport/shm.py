"""Weights through shared memory, to engines on the same host, with or without a GPU."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ray.actor import ActorHandle

from learner.gather import GatheredWeights, Whole
from tandem.runtime.segment import WeightSegment
from tandem.runtime.weights import SHM, PublishedWeights


class SharedMemory:
    """Rewrites the segment file `path` with every version; the engines must be done with the one before.

    On rank 0 (`writer`) so many `threads` copy while the next weights are gathered.
    """

    def __init__(self, weights: GatheredWeights, path: Path, *, writer: bool, threads: int) -> None:
        self._weights, self._path, self._threads, self._writer = weights, path, threads, writer
        self._segment: WeightSegment | None = None

    def connect(self, engines: Sequence[ActorHandle]) -> None:
        """Nothing: engines find the segment by its path."""

    def send(self, version: int) -> PublishedWeights | None:
        """See `Transport.send`."""
        layout = self._weights.layout
        if self._writer and self._segment is None:
            self._segment = WeightSegment(self._path, layout, create=True, threads=self._threads)
        self._weights.stream(self._segment.write if self._segment else _keep_step)
        if self._segment is None:
            return None
        return PublishedWeights(version, SHM, str(self._path), layout, self._segment.written)

    def close(self) -> None:
        """Removes the segment file; engines that still map it keep their mapping."""
        if self._segment is not None:
            self._segment = None
            self._path.unlink(missing_ok=True)


def _keep_step(whole: Whole) -> None:
    """On a rank that writes nothing: it gathers with the others, and that is all."""
