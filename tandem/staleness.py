"""How far the writing may run ahead of the learning: which group may be begun when, and which are fresh enough to train on.

Versions count the learner's steps. A group is *stale by* k when its oldest token of the senior is k versions behind the weights
that are about to learn from it; 0 is strictly on-policy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tandem.rollout import BASE_VERSION, SENIOR, Group


class StreamPosition(NamedTuple):
    """Where a run is in its stream of problems."""

    position: int = 0
    """the first that was never begun"""
    unfinished: Sequence[int] = ()
    """those before it that were begun and not taken by the learner: a resumed run writes them again"""


START = StreamPosition()


def oldest_version(group: Group) -> int | None:
    """The version of the weights that the senior's oldest token was sampled from; None where the senior wrote nothing."""
    versions = [rollout.weight_versions[rollout.authorship == SENIOR] for rollout in group.rollouts]
    return min((int(each.min()) for each in versions if len(each)), default=None)


def mean_staleness(groups: Sequence[Group], version: int) -> float:
    """How many versions the senior's tokens are behind `version`, on average; 0 where the senior wrote nothing."""
    rollouts = [rollout for group in groups for rollout in group.rollouts]
    versions = np.concatenate([rollout.weight_versions[rollout.authorship == SENIOR] for rollout in rollouts])
    return version - float(versions.mean()) if len(versions) else 0.0


class StalenessBuffer:
    """The groups of a run between the problem stream and the learner, by their position in the stream.

    The learner takes `batch` groups a step. A group may be begun once the engines' `version` is at most `max_staleness` behind
    the one that will learn from it, all groups before it taken in turn: so the engines write while the learner learns, yet
    never further ahead than that. A group that took so long that others overtook it may still become too old; it is dropped.

    After `steps` batches nothing more is begun (None: there is no end). `version` is the engines' at the start, `place` where
    in the stream it starts. Pure bookkeeping: it neither waits nor writes.
    """

    def __init__(
        self,
        batch: int,
        max_staleness: int,
        *,
        steps: int | None = None,
        version: int = BASE_VERSION,
        place: StreamPosition = START,
    ) -> None:
        self._batch, self._max_staleness = batch, max_staleness
        self._wanted = math.inf if steps is None else batch * steps
        self.version = version
        """of the weights in the engines, which is the learner's too whenever it takes groups"""
        self._position = place.position
        self.dropped = 0
        """groups that became too old"""
        self._first_version = version
        self._taken = 0
        self._again = sorted(place.unfinished, reverse=True)
        self._in_flight: set[int] = set()
        self._finished: dict[int, Group] = {}

    @property
    def place(self) -> StreamPosition:
        """Where a run that is resumed from here goes on."""
        return StreamPosition(self._position, sorted({*self._again, *self._in_flight, *self._finished}))

    def begin(self) -> int | None:
        """The position of the next group to write; None while no other may be begun."""
        ahead = self._taken + len(self._in_flight) + len(self._finished)
        may_be_begun = self._batch * (self.version - self._first_version + 1 + self._max_staleness)
        if ahead >= min(may_be_begun, self._wanted):
            return None
        if self._again:
            position = self._again.pop()
        else:
            position, self._position = self._position, self._position + 1
        self._in_flight.add(position)
        return position

    def finish(self, position: int, group: Group) -> None:
        """Keeps the group that was written for `position`, unless it is too old already."""
        self._in_flight.remove(position)
        self._finished[position] = group
        self._drop_stale()

    def advance(self, version: int) -> None:
        """The engines have received `version`."""
        self.version = version
        self._drop_stale()

    @property
    def finished(self) -> int:
        """Groups that wait for the learner."""
        return len(self._finished)

    def take(self, count: int) -> list[Group]:
        """The `count` finished groups of the earliest positions. Raises `ValueError` when fewer have finished."""
        if count > self.finished:
            raise ValueError(f"{count} groups were asked for, and {self.finished} have finished")
        self._taken += count
        return [self._finished.pop(position) for position in sorted(self._finished)[:count]]

    def reject(self, count: int) -> None:
        """The learner had no use for `count` of the groups it took: as many others may be begun in their place."""
        self._taken -= count

    def staleness(self, group: Group) -> int:
        """How many versions the group's oldest token is behind the present weights."""
        oldest = oldest_version(group)
        return 0 if oldest is None else self.version - oldest

    def _drop_stale(self) -> None:
        for position in [p for p, group in self._finished.items() if self.staleness(group) > self._max_staleness]:
            del self._finished[position]
            self.dropped += 1
