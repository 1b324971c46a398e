"""The groups that a run trains on: written when the learner asks for them, or ahead of it in a thread."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from copy import deepcopy
from functools import lru_cache
from types import TracebackType
from typing import Protocol, Self

from actors.dispatch import IndexedTask, TaskQueue
from actors.group_task import GroupTask
from actors.rollout_pool import RolloutPool
from tandem.authors import Authors
from tandem.config.schema import Config
from tandem.data.problems import ProblemSet
from tandem.data.prompts import encode
from tandem.rollout import Group, Prompt
from tandem.schedule import schedule_at
from tandem.staleness import START, StalenessBuffer, StreamPosition


class GroupSource(Protocol):
    """The stream of groups that a run trains on; a context manager that cancels what is in flight."""

    @property
    def stream_position(self) -> StreamPosition:
        """The position in the problem stream from which a resumed run continues."""
        ...

    @property
    def dropped(self) -> int:
        """The number of groups dropped so far: too old, or too late."""
        ...

    @property
    def writing_s(self) -> float:
        """The seconds so far in which at least one group was being written."""
        ...

    def take(self, step: int, count: int, on_group: Callable[[object], None] = lambda _: None) -> list[Group]:
        """Return the next `count` groups in the order of the stream, for training step `step`; wait until they have finished.

        Groups that missed a deadline are left out. Calls `on_group` as each group finishes.
        """
        ...

    def reject(self, count: int) -> None:
        """Write `count` more groups, since as many of those taken are not trained on."""
        ...

    def advance(self, version: int) -> None:
        """Continue with weights of `version`, which the engines have loaded."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...


class SyncGroupSource:
    """A source that writes groups when the learner takes them, strictly on-policy.

    `task_at(position, step)` returns the task of the group at `position` in the stream, for training step `step`. The stream
    starts at `stream_position`. Groups that are unfinished `deadline_s` seconds after `take` are dropped (0: never). Calls
    `on_written` with each finished group.
    """

    def __init__(
        self,
        pool: RolloutPool,
        task_at: Callable[[int, int], GroupTask],
        *,
        on_written: Callable[[Group], None] = lambda _: None,
        deadline_s: float = 0.0,
        stream_position: StreamPosition = START,
    ) -> None:
        self._pool, self._task_at, self._on_written, self._deadline_s = pool, task_at, on_written, deadline_s
        self.stream_position = stream_position
        self.dropped = 0
        self.writing_s = 0.0

    def take(self, step: int, count: int, on_group: Callable[[object], None] = lambda _: None) -> list[Group]:
        """Return the groups at the next `count` positions (see `GroupSource.take`)."""
        start, unfinished = self.stream_position
        retried = unfinished[:count]
        end = start + count - len(retried)
        self.stream_position = StreamPosition(end, unfinished[len(retried) :])
        tasks = [self._task_at(position, step) for position in (*retried, *range(start, end))]

        def report(group: Group) -> None:
            self._on_written(group)
            on_group(group)

        begun_s = time.perf_counter()
        groups = self._pool.write_all(tasks, deadline_s=self._deadline_s, on_group=report)
        self.writing_s += time.perf_counter() - begun_s
        self.dropped += count - len(groups)
        return groups

    def reject(self, count: int) -> None:
        """Do nothing: the next `take` writes other groups."""

    def advance(self, version: int) -> None:
        """Do nothing: no group is in flight."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        pass


class AsyncGroupSource:
    """A source that writes groups in a thread while the learner learns, as far ahead as `buffer` allows.

    `task_at(position, step)` returns the task of the group at `position` in the stream; `step` is the training step that is
    expected to take it. The thread calls `task_at`, and calls `on_written` with each finished group. The next `take` raises
    the thread's error.
    """

    def __init__(
        self,
        pool: RolloutPool,
        buffer: StalenessBuffer,
        task_at: Callable[[int, int], GroupTask],
        on_written: Callable[[Group], None] = lambda _: None,
    ) -> None:
        self._pool, self._buffer, self._task_at, self._on_written = pool, buffer, task_at, on_written
        self._writing_s, self._writing_since = 0.0, math.inf
        self._task_queue = TaskQueue(begin=self._begin)
        self._changed = threading.Condition()
        """guards the buffer; notified when a group finishes or the thread fails"""
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._write, name="async-group-source", daemon=True)

    @property
    def stream_position(self) -> StreamPosition:
        """The position in the problem stream from which a resumed run continues."""
        with self._changed:
            return self._buffer.stream_position

    @property
    def dropped(self) -> int:
        """The number of groups dropped so far because they were too old."""
        return self._buffer.dropped

    @property
    def writing_s(self) -> float:
        """The seconds so far in which at least one group was being written."""
        with self._changed:
            return self._writing_s + max(0.0, time.perf_counter() - self._writing_since)

    def take(self, step: int, count: int, on_group: Callable[[object], None] = lambda _: None) -> list[Group]:
        """Return the next `count` groups that are fresh enough to train on (see `GroupSource.take`)."""
        reported = 0
        with self._changed:
            while True:
                if self._failure is not None:
                    raise self._failure
                while reported < min(count, self._buffer.finished):
                    reported += 1
                    on_group(None)
                if self._buffer.finished >= count:
                    return self._buffer.take(count)
                self._changed.wait()

    def reject(self, count: int) -> None:
        """Write `count` more groups, since as many of those taken are not trained on."""
        with self._changed:
            self._buffer.reject(count)
        self._task_queue.wake()

    def advance(self, version: int) -> None:
        """Begin the groups that `version` allows, and drop those that are now too old."""
        with self._changed:
            self._buffer.advance(version)
        self._task_queue.wake()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._task_queue.cancel()
        self._thread.join()

    def _begin(self) -> IndexedTask | None:
        with self._changed:
            begun = self._buffer.begin()
            self._count_writing()
        return None if begun is None else (begun.position, self._task_at(*begun))

    def _count_writing(self) -> None:
        """Count the time since the first group in flight, after groups began or finished."""
        now = time.perf_counter()
        self._writing_s += max(0.0, now - self._writing_since)
        self._writing_since = now if self._buffer.in_flight else math.inf

    def _write(self) -> None:
        try:
            for position, group in self._pool.write(self._task_queue):
                self._on_written(group)
                with self._changed:
                    self._buffer.finish(position, group)
                    self._count_writing()
                    self._changed.notify_all()
        except BaseException as failure:  # noqa: BLE001  `take` raises it
            with self._changed:
                self._failure = failure
                self._changed.notify_all()


def group_source(
    config: Config,
    pool: RolloutPool,
    authors: Authors,
    problems: ProblemSet,
    step: int,
    stream_position: StreamPosition,
    on_written: Callable[[Group], None],
) -> GroupSource:
    """Return the groups of a run that continues after `step` at `stream_position`: asynchronous if it tolerates staleness.

    Calls `on_written` with each group as soon as it has been written, possibly in another thread. A position in the stream
    determines a group's problem, ids and seeds, and the training step its schedule.
    """
    batch = config.rollout.prompts_per_step
    # Copies: tokenizers must not be shared with the thread of an asynchronous source.
    tokenizer, junior_tokenizers = deepcopy((authors.tokenizer, authors.junior_tokenizers))

    @lru_cache(maxsize=4)
    def prompts(batch_index: int) -> list[Prompt]:
        return encode(problems.train.batch(batch_index, batch), tokenizer, config.data, junior_tokenizers)[0]

    def task_at(position: int, step: int) -> GroupTask:
        batch_index, index = divmod(position, batch)
        prompt, name = prompts(batch_index)[index], f"step{batch_index + 1}/{index}"
        return pool.task(prompt, config.rollout.group_size, schedule_at(config, step), config.rollout.sampling, name)

    if staleness := config.rollout.max_staleness:
        buffer = StalenessBuffer(batch, staleness, steps=config.steps - step, version=step, stream_position=stream_position)
        return AsyncGroupSource(pool, buffer, task_at, on_written)
    deadline_s = config.rollout.straggler_deadline_s
    return SyncGroupSource(pool, task_at, on_written=on_written, deadline_s=deadline_s, stream_position=stream_position)
