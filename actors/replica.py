"""One replica: a rollout actor, or what answers its calls, and its state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol

import psutil
import ray
from ray.actor import ActorHandle
from ray.exceptions import OutOfMemoryError, RayActorError

from tandem.runtime.errors import RunError

ACTOR_DIED = (RayActorError, OutOfMemoryError)
"""Ray's errors of a call whose actor died; the latter if Ray killed it because its node ran out of memory."""


class RolloutError(RunError):
    """A rollout actor failed or is too slow; the message names it."""


class ReplicaFailed(RuntimeError):
    """A replica died during a call, or is not running: make the call again later or on another replica."""


class Replica(Protocol):
    """The interface of a replica: the calls of `actors.rollout.RolloutActor`, over Ray."""

    def call(self, method: str, *arguments: Any) -> ray.ObjectRef:
        """Call `method` and return a reference to its answer at once."""
        ...

    def kill(self) -> None:
        """End the actor, whatever its state."""
        ...

    def recreate(self) -> None:
        """Create another actor after `kill`; it has yet to be started."""
        ...


class ActorReplica:
    """A replica that is a Ray actor. `create` returns the actor, given how many there were before."""

    def __init__(self, create: Callable[[int], ActorHandle]) -> None:
        self._create, self._generation = create, 0
        self.actor = create(0)

    def call(self, method: str, *arguments: Any) -> ray.ObjectRef:
        """Call `method` and return a reference to its answer at once."""
        return getattr(self.actor, method).remote(*arguments)

    def kill(self) -> None:
        """End the actor, whatever its state."""
        ray.kill(self.actor)

    def recreate(self) -> None:
        """Create another actor after `kill`; it has yet to be started."""
        self._generation += 1
        self.actor = self._create(self._generation)


class ReplicaState(Enum):
    """States of a replica; only a running one can be called."""

    STARTING = "starting"
    RUNNING = "running"
    RESTARTING = "restarting"
    FAILED = "failed"
    """it could not be restarted"""
    CLOSED = "closed"


@dataclass
class Member:
    """A replica of a set, with its state."""

    index: int
    replica: Replica
    state: ReplicaState = ReplicaState.STARTING
    generation: int = 0
    """how many actors of the replica have died"""
    admitted: int = 0
    """rollouts that it writes at a time"""
    processes: dict[str, psutil.Process] = field(default_factory=dict)
    """its actor and engines on this host, by name"""

    @property
    def name(self) -> str:
        """The replica's name in messages."""
        return f"rollout actor {self.index}"

    @property
    def running(self) -> bool:
        """Whether the replica can be called."""
        return self.state is ReplicaState.RUNNING
