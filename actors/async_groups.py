"""Writing ahead: the pool writes the groups of coming steps in a thread of its own, while the learner learns."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from actors.rollout import GroupTask
from actors.rollout_pool import RolloutPool
from actors.task_queue import TaskQueue
from tandem.rollout import Group
from tandem.staleness import StalenessBuffer, StreamPosition


class AsyncGroupSource:
    """Has `pool` write the groups at the positions that `buffer` begins; a context manager that gives up what is in flight.

    `task_at` makes the group of a position, of at most `max_tokens` tokens a rollout; it is called in the writing thread.
    Whatever fails there is raised by the next `take`.
    """

    def __init__(
        self,
        pool: RolloutPool,
        buffer: StalenessBuffer,
        task_at: Callable[[int], GroupTask],
        max_tokens: int,
    ) -> None:
        self._pool, self._lookahead, self._task_at, self._max_tokens = pool, buffer, task_at, max_tokens
        self._task_queue = TaskQueue(self._begin)
        self._changed = threading.Condition()
        """guards the buffer; notified whenever a group finishes or the thread fails"""
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._write, name="writes-ahead", daemon=True)

    def take(self, count: int, on_group: Callable[[object], None] = lambda _: None) -> list[Group]:
        """The next `count` groups that are fresh enough to learn from; waits until they have finished.

        Calls `on_group` as often as there is another one, those that wait already included.
        """
        seen = 0
        with self._changed:
            while True:
                if self._failure is not None:
                    raise self._failure
                while seen < min(count, self._lookahead.finished):
                    seen += 1
                    on_group(None)
                if self._lookahead.finished >= count:
                    return self._lookahead.take(count)
                self._changed.wait()

    def reject(self, count: int) -> None:
        """See `StalenessBuffer.reject`."""
        with self._changed:
            self._lookahead.reject(count)
        self._task_queue.wake()

    def advance(self, version: int) -> None:
        """The engines have received `version`: more groups may be begun, and some may have become too old."""
        with self._changed:
            self._lookahead.advance(version)
        self._task_queue.wake()

    @property
    def dropped(self) -> int:
        """Groups that became too old."""
        return self._lookahead.dropped

    @property
    def place(self) -> StreamPosition:
        """See `StalenessBuffer.place`."""
        with self._changed:
            return self._lookahead.place

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._task_queue.cancel()
        self._thread.join()

    def _begin(self) -> tuple[int, GroupTask] | None:
        with self._changed:
            position = self._lookahead.begin()
        return None if position is None else (position, self._task_at(position))

    def _write(self) -> None:
        try:
            for position, group in self._pool.write(self._task_queue, self._max_tokens):
                with self._changed:
                    self._lookahead.finish(position, group)
                    self._changed.notify_all()
        except BaseException as failure:  # noqa: BLE001  it is raised in the thread that waits for the groups
            with self._changed:
                self._failure = failure
                self._changed.notify_all()
