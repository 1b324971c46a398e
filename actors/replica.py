"""One rollout actor as the driver calls it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import ray
from ray.actor import ActorHandle


class Replica(Protocol):
    """Whatever answers the calls of `actors.rollout.RolloutActor`, over Ray."""

    def call(self, method: str, *arguments: Any) -> ray.ObjectRef:
        """Calls `method` and returns at once; the reference becomes its answer."""
        ...

    def kill(self) -> None:
        """Ends it, whatever its state."""
        ...

    def renew(self) -> None:
        """Takes another actor in place of the one that was killed; it is to be started as the first was."""
        ...


class ActorReplica:
    """A replica that is a Ray actor of its own; `make` makes it, given how many there were before."""

    def __init__(self, make: Callable[[int], ActorHandle]) -> None:
        self._make, self._before = make, 0
        self.actor = make(0)

    def call(self, method: str, *arguments: Any) -> ray.ObjectRef:
        """See `Replica.call`."""
        return getattr(self.actor, method).remote(*arguments)

    def kill(self) -> None:
        """See `Replica.kill`."""
        ray.kill(self.actor)

    def renew(self) -> None:
        """See `Replica.renew`."""
        self._before += 1
        self.actor = self._make(self._before)
