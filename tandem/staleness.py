"""Bounded staleness: which group may begin when, and which finished groups are fresh enough to train on.

Versions count the learner's steps. A group's staleness is the number of versions between its oldest senior token and the
weights that are about to learn from it; 0 is strictly on-policy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tandem.rollout import SENIOR, Group


class StreamPosition(NamedTuple):
    """The position of a run in its stream of problems."""

    position: int = 0
    """the first that never began"""
    unfinished: Sequence[int] = ()
    """earlier ones that began and that the learner did not take: a resumed run writes them again"""


START = StreamPosition()


class NextGroup(NamedTuple):
    """A group that may begin."""

    position: int
    """in the stream of problems"""
    step: int
    """the training step that takes it, if all groups before it are taken in turn"""


def oldest_version(group: Group) -> int | None:
    """Return the version of the weights that sampled the senior's oldest token; None where the senior wrote nothing."""
    versions = [rollout.weight_versions[rollout.authorship == SENIOR] for rollout in group.rollouts]
    return min((int(each.min()) for each in versions if len(each)), default=None)


def mean_staleness(groups: Sequence[Group], version: int) -> float:
    """Return by how many versions the senior's tokens are older than `version`, on average; 0 if it wrote nothing."""
    rollouts = [rollout for group in groups for rollout in group.rollouts]
    versions = np.concatenate([rollout.weight_versions[rollout.authorship == SENIOR] for rollout in rollouts])
    return version - float(versions.mean()) if len(versions) else 0.0


class StalenessBuffer:
    """The groups of a run between the problem stream and the learner, by their position in the stream.

    The learner takes `batch` groups a step. A group may begin when the engines' version is at most `max_staleness` older than
    the version that will learn from it, if all groups before it are taken in turn. So the engines write while the learner
    learns, but not further ahead. A group that others overtook may still become too old; it is dropped.

    No group begins after `steps` batches. At the start the engines have `version` and the stream is at
    `stream_position`. The buffer only counts: it neither waits nor writes.
    """

    def __init__(
        self,
        batch: int,
        max_staleness: int,
        *,
        steps: int,
        version: int,
        stream_position: StreamPosition,
    ) -> None:
        self._batch, self._max_staleness = batch, max_staleness
        self._wanted = batch * steps
        self.version = version
        """of the engines' weights; also of the learner's when it takes groups"""
        self._position = stream_position.position
        self.dropped = 0
        """groups that became too old"""
        self._first_version = version
        self._taken = 0
        self._again = sorted(stream_position.unfinished, reverse=True)
        self._in_flight: set[int] = set()
        self._finished: dict[int, Group] = {}

    @property
    def stream_position(self) -> StreamPosition:
        """Return the position from which a resumed run continues."""
        return StreamPosition(self._position, sorted({*self._again, *self._in_flight, *self._finished}))

    def begin(self) -> NextGroup | None:
        """Begin the next group, and return it; None while no other may begin."""
        begun = self._taken + len(self._in_flight) + len(self._finished)
        allowed = self._batch * (self.version - self._first_version + 1 + self._max_staleness)
        if begun >= min(allowed, self._wanted):
            return None
        if self._again:
            position = self._again.pop()
        else:
            position, self._position = self._position, self._position + 1
        self._in_flight.add(position)
        return NextGroup(position, self._first_version + 1 + begun // self._batch)

    def finish(self, position: int, group: Group) -> None:
        """Store the group that was written for `position`, unless it is already too old."""
        self._in_flight.remove(position)
        self._finished[position] = group
        self._drop_stale()

    def advance(self, version: int) -> None:
        """Continue with weights of `version`, which the engines have loaded."""
        self.version = version
        self._drop_stale()

    @property
    def in_flight(self) -> int:
        """Return how many groups are being written."""
        return len(self._in_flight)

    @property
    def finished(self) -> int:
        """Return how many groups wait for the learner."""
        return len(self._finished)

    def take(self, count: int) -> list[Group]:
        """Remove and return the first `count` finished groups by position. Raises `ValueError` when fewer have finished."""
        if count > self.finished:
            raise ValueError(f"{count} groups were asked for, and {self.finished} have finished")
        self._taken += count
        return [self._finished.pop(position) for position in sorted(self._finished)[:count]]

    def reject(self, count: int) -> None:
        """Let `count` more groups begin, in place of as many that the learner took and does not train on."""
        self._taken -= count

    def staleness(self, group: Group) -> int:
        """Return by how many versions the group's oldest senior token is older than the engines' weights."""
        oldest = oldest_version(group)
        return 0 if oldest is None else self.version - oldest

    def _drop_stale(self) -> None:
        for position in [p for p, group in self._finished.items() if self.staleness(group) > self._max_staleness]:
            del self._finished[position]
            self.dropped += 1
