"""Writing and learning in turn: a step's groups are written when the learner asks for them, strictly on-policy."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Self

from actors.rollout import GroupTask
from actors.rollout_pool import RolloutPool
from actors.task_queue import TaskQueue
from tandem.rollout import Group
from tandem.staleness import START, StreamPosition


class SyncGroupSource:
    """What `actors.async_groups.AsyncGroupSource` is to a run that tolerates staleness, for one that tolerates none.

    `task_at` makes the group of a position, of at most `max_tokens` tokens a rollout; the stream is taken up at `place`. Groups
    that are unfinished `deadline_s` after they were asked for are dropped (0: never).
    """

    def __init__(
        self,
        pool: RolloutPool,
        task_at: Callable[[int], GroupTask],
        max_tokens: int,
        *,
        deadline_s: float = 0.0,
        place: StreamPosition = START,
    ) -> None:
        self._pool, self._task_at, self._max_tokens, self._deadline_s = pool, task_at, max_tokens, deadline_s
        self.place = place
        """where the next group stands"""
        self.dropped = 0
        """groups that missed their deadline"""

    def take(self, count: int, on_group: Callable[[object], None] = lambda _: None) -> list[Group]:
        """The groups of the next `count` positions; those missing that were dropped. Calls `on_group` as each finishes."""
        again, (position, unfinished) = self.place.unfinished[:count], self.place
        end = position + count - len(again)
        positions = [*again, *range(position, end)]
        self.place = StreamPosition(end, unfinished[len(again) :])
        tasks = deque((position, self._task_at(position)) for position in positions)
        queue = TaskQueue(lambda: tasks.popleft() if tasks else None)
        queue.end()
        groups: dict[int, Group] = {}
        for position, group in self._pool.write(queue, self._max_tokens, deadline_s=self._deadline_s):
            groups[position] = group
            on_group(group)
        self.dropped += count - len(groups)
        return [groups[position] for position in sorted(groups)]

    def reject(self, count: int) -> None:
        """The learner had no use for `count` groups. Others in their place are written when it asks for them."""

    def advance(self, version: int) -> None:
        """The engines have received `version`; there is nothing in flight that it could concern."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        pass
