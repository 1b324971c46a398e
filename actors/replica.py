"""One rollout actor as the driver calls it."""

from __future__ import annotations

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


class ActorReplica:
    """A replica that is a Ray actor of its own."""

    def __init__(self, actor: ActorHandle) -> None:
        self.actor = actor

    def call(self, method: str, *arguments: Any) -> ray.ObjectRef:
        """See `Replica.call`."""
        return getattr(self.actor, method).remote(*arguments)

    def kill(self) -> None:
        """See `Replica.kill`."""
        ray.kill(self.actor)
