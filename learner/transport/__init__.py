"""Transports of the senior's weights to the engines: one interface; shared memory, NCCL and CUDA IPC."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ray.actor import ActorHandle

from tandem.runtime.weights import PublishedWeights


class Transport(Protocol):
    """Sends the learner's weights to the engines. Every method is collective; rank 0 sends."""

    def connect(self, engines: Sequence[ActorHandle]) -> None:
        """Connect to the rollout actors `engines`, once, before the first `send`."""
        ...

    def send(self, version: int) -> PublishedWeights | None:
        """Send the current weights as `version`. Return what the engines need to load them; None on all ranks but 0."""
        ...

    def close(self) -> None:
        """Release all resources."""
        ...
