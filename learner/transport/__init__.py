"""How the senior's weights reach the engines: one interface, three transports."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ray.actor import ActorHandle

from tandem.runtime.weights import PublishedWeights


class Transport(Protocol):
    """Sends a learner's weights to the engines. Every method is collective: all ranks call it, and rank 0 sends."""

    def connect(self, engines: Sequence[ActorHandle]) -> None:
        """Meets the rollout actors of `engines`, once, before anything is sent."""
        ...

    def send(self, version: int) -> PublishedWeights | None:
        """Sends the present weights as version `version`; what to tell the engines then; None on ranks but the first."""
        ...

    def close(self) -> None:
        """Leaves nothing behind."""
        ...
