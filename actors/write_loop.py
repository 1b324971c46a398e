"""The loop that has the replicas write groups: dispatch tasks, wait for one event, handle it."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from queue import Empty

import ray

from actors.dispatch import Dispatcher, IndexedTask, TaskQueue
from actors.replica import ReplicaFailed, RolloutError
from actors.replicas import Call, ReplicaSet
from tandem.rollout import Group

CANCEL_TIMEOUT_S = 60.0
"""The time that a replica has to end cancelled groups and free what they hold."""


@dataclass(frozen=True)
class InFlight:
    """A group that a replica is writing."""

    task: IndexedTask
    call: Call


class _DeadlinePassed(Exception):
    """The groups that are in flight are late."""


class WriteLoop:
    """The loop that writes the groups of `queue` on the replicas, one iteration per event.

    After `deadline_s` seconds (infinite: never) no group is dispatched and those in flight are cancelled. `timeout_s` is the
    longest time in which no group finishes. A group whose replica fails is written again, with the same ids and seeds.
    """

    def __init__(self, replica_set: ReplicaSet, queue: TaskQueue, *, deadline_s: float, timeout_s: float) -> None:
        self._replica_set, self._queue, self._timeout_s = replica_set, queue, timeout_s
        self._deadline = time.monotonic() + deadline_s
        self._dispatcher = Dispatcher(len(replica_set.capacities))
        self._in_flight: dict[Future, InFlight] = {}

    def run(self) -> Iterator[tuple[int, Group]]:
        """Yield each group as it finishes, after its index, until the queue is exhausted or cancelled.

        Raises `RolloutError` when one fails or none finishes in time, and what `ReplicaSet.check` raises.
        """
        with self._replica_set.notifying(self._queue.wake):
            while not self._queue.cancelled:
                self._replica_set.check()
                self._dispatch()
                if self._queue.exhausted and not self._in_flight:
                    return
                try:
                    finished = self._next_event()
                except _DeadlinePassed:
                    break
                if finished is not None and (group := self._handle(finished)):
                    yield group
        self._cancel()

    def _dispatch(self) -> None:
        """Send groups to the replicas that have room for them."""
        while self._seconds_left() > 0:
            replica = self._dispatcher.next_replica(self._replica_set.capacities)
            if replica is None or (task := self._queue.next_task()) is None:
                return
            try:
                call = self._replica_set.call(replica, "write_group", task[1])
            except ReplicaFailed:
                self._queue.retry(task)
                continue
            self._dispatcher.assign(replica, task[1])
            future = call.answer.future()
            self._in_flight[future] = InFlight(task, call)
            # Not ray.wait, whose every call costs time for each group in flight.
            future.add_done_callback(self._queue.events.put)

    def _next_event(self) -> Future | None:
        """Return the next group that has finished, or None to dispatch again. Raises `_DeadlinePassed` and `RolloutError`."""
        left_s, timeout_s = self._seconds_left(), self._timeout_s if self._in_flight else math.inf
        wait_s = min(left_s, timeout_s)
        try:
            return self._queue.events.get(timeout=None if wait_s == math.inf else wait_s)
        except Empty:
            if left_s <= timeout_s:
                raise _DeadlinePassed from None
            raise RolloutError(
                f"rollout actor(s) {_replicas(self._in_flight.values())} finished none of {len(self._in_flight)} groups within "
                f"rollout.timeout_s={self._timeout_s:g}"
            ) from None

    def _handle(self, finished: Future) -> tuple[int, Group] | None:
        """Return the group that finished, after its index; None if its replica failed: then it is written again."""
        in_flight = self._in_flight.pop(finished)
        replica, (index, task) = in_flight.call.replica, in_flight.task
        try:
            group = self._replica_set.answer(in_flight.call, finished.result)
        except ReplicaFailed:
            self._dispatcher.remove(replica, task)
            self._queue.retry(in_flight.task)
            return None
        self._dispatcher.complete(replica, task, group)
        return index, group

    def _cancel(self) -> None:
        """Cancel the groups in flight and wait until they have ended: weights must not change under a rollout."""
        answers = [group.call.answer for group in self._in_flight.values()]
        if not answers:
            return
        for answer in answers:
            ray.cancel(answer)
        _, late = ray.wait(answers, num_returns=len(answers), timeout=CANCEL_TIMEOUT_S)
        if late:
            stuck = [group for group in self._in_flight.values() if group.call.answer in late]
            raise RolloutError(
                f"rollout actor(s) {_replicas(stuck)} did not end {len(late)} cancelled groups within {CANCEL_TIMEOUT_S:g} s"
            )

    def _seconds_left(self) -> float:
        return max(0.0, self._deadline - time.monotonic())


def _replicas(groups: Iterable[InFlight]) -> list[int]:
    """Return the replicas that are writing `groups`."""
    return sorted({group.call.replica for group in groups})
