"""Simulated replicas, many in one Ray actor, with the interface of a rollout actor."""

from __future__ import annotations

import asyncio
import os
from typing import Any, NamedTuple

import numpy as np
import ray

from actors.admission import KVUse
from actors.group_task import GroupTask
from tandem.rollout import FROZEN_VERSION, Group
from tandem.runtime.processes import ProcessLocation, process_location
from tandem.runtime.weights import SHM, PublishedWeights, WeightLayout
from tests.support.actor_death import kill_actor
from tests.support.random_groups import random_groups

ADMITTED = 4
SLOW, STUCK, UNLUCKY = 9, 10, 11
"""Replicas that take ten times as long, that never load weights, and that do not start."""
NEVER = "3600"


class Event(NamedTuple):
    """An event of a problem's group or of a replica."""

    kind: str
    replica: int
    problem: str = ""


class Stage:
    """Simulates all replicas. A prompt's question is the seconds that its group takes, or `fails`, or `dies` for the actor."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.version = 0

    async def call(self, replica: int, method: str, *arguments: Any) -> Any:
        """Return the answer of `replica`."""
        return await getattr(self, method)(replica, *arguments)

    async def start(self, replica: int) -> int:
        if replica == UNLUCKY:
            raise ValueError("an unlucky start")
        return ADMITTED

    async def write_group(self, replica: int, task: GroupTask) -> Group:
        question, problem = task.prompt.problem.question, task.prompt.problem.id
        self.events.append(Event("given", replica, problem))
        start_version = self.version
        if question == "fails":
            raise ValueError("no such thing")
        if question == "dies":
            os._exit(1)
        try:
            await asyncio.sleep(float(question) * (10 if replica == SLOW else 1))
        except asyncio.CancelledError:
            await asyncio.sleep(0.1)  # the time an engine may take to free the group's blocks
            self.events.append(Event("cancelled", replica, problem))
            raise
        (group,) = random_groups(0, groups=1, size=len(task.rollout_ids))
        for rollout, name, seed in zip(group.rollouts, task.rollout_ids, task.seeds, strict=True):
            rollout.id, rollout.seed = name, seed
            # The first half of the text has the version of the start, the second that of the end.
            halves = np.where(np.arange(len(rollout)) < len(rollout) / 2, start_version, self.version)
            rollout.weight_versions = np.where(rollout.authorship, halves, FROZEN_VERSION)
        return Group(task.prompt, group.rollouts, task.schedule)

    async def receive_weights(self, replica: int, published: object) -> int:
        await asyncio.sleep(3600 if replica == STUCK else 0)
        if isinstance(published, int):
            self.version = published
        elif isinstance(published, PublishedWeights):
            self.version = published.version
        return self.version

    async def sleep(self, replica: int) -> None:
        """Do nothing: there is no memory to free."""

    async def wake(self, replica: int) -> None:
        """Do nothing."""

    async def checksums(self, replica: int, author: int) -> list[str]:
        return [str(self.version)]

    async def kv_use(self, replica: int) -> dict[str, KVUse]:
        return {"senior": KVUse(replica / 10, replica)}

    async def processes(self, replica: int) -> dict[str, ProcessLocation]:
        return {"": process_location()}

    async def close(self, replica: int) -> None:
        self.events.append(Event("closed", replica))

    async def all_events(self) -> list[Event]:
        """Return all events."""
        return self.events

    async def reset(self) -> None:
        """Remove all events."""
        self.events.clear()
        self.version = 0


class MortalReplica:
    """A replica on a separate stage, which is killed and recreated with it."""

    def __init__(self) -> None:
        self.recreate()

    def call(self, method: str, *arguments: Any) -> ray.ObjectRef:
        return self._stage.call.remote(0, method, *arguments)

    def kill(self) -> None:
        """Kill the stage. Returns when it is dead."""
        kill_actor(self._stage)

    def recreate(self) -> None:
        self._stage = new_stage()


def published(version: int) -> PublishedWeights:
    """Return published weights of `version`."""
    return PublishedWeights(version, SHM, "", WeightLayout(()), 0)


def new_stage() -> Any:
    """Start a stage in a separate process."""
    return ray.remote(Stage).options(num_cpus=0, max_concurrency=1000).remote()


def events(stage: Any, kind: str) -> list[tuple[int, str]]:
    """Return (replica, problem) of all events of one kind, in order."""
    return [(replica, problem) for event, replica, problem in ray.get(stage.all_events.remote()) if event == kind]
