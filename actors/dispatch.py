"""Which group is written next, and which replica writes it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from queue import SimpleQueue

from actors.group_task import GroupTask
from tandem.rollout import Group

FILL = 2
"""A replica receives no more groups once its outstanding rollouts are this many times those that it writes at a time. A group
is outstanding until its longest rollout ends, but most of its slots are free before that. Waiting rollouts fill them."""

IndexedTask = tuple[int, GroupTask]
"""A group to write, after its index in the queue."""


class TaskQueue:
    """The groups to write, one by one: `tasks`, or what `begin` returns, which is None while no group may begin.

    One thread writes the groups; any thread may call `wake` and `cancel`.
    """

    def __init__(self, tasks: Iterable[GroupTask] = (), *, begin: Callable[[], IndexedTask | None] | None = None) -> None:
        self._tasks, self._begin = deque(enumerate(tasks)), begin
        self._retries: deque[IndexedTask] = deque()
        self.events: SimpleQueue[Future | None] = SimpleQueue()
        """groups that finished; None: another group may begin"""
        self.cancelled = False

    def next_task(self) -> IndexedTask | None:
        """Return the next group to write; None while there is none."""
        if waiting := self._retries or self._tasks:
            return waiting.popleft()
        return self._begin() if self._begin else None

    def retry(self, task: IndexedTask) -> None:
        """Return `task` again from `next_task`, before new ones."""
        self._retries.append(task)

    @property
    def exhausted(self) -> bool:
        """Whether `next_task` has no group left and none will come."""
        return not (self._retries or self._tasks or self._begin)

    def wake(self) -> None:
        """Have the writing thread look for a group that may begin."""
        self.events.put(None)

    def cancel(self) -> None:
        """Begin no more groups and cancel those in flight."""
        self.cancelled = True
        self.wake()


@dataclass
class Outstanding:
    """The rollouts and prompt tokens that one replica has received and not returned."""

    rollouts: int = 0
    prompt_tokens: int = 0
    """of each group once: its rollouts share the prompt's KV blocks"""


class Dispatcher:
    """Assign each group to the replica with the fewest outstanding tokens, or to none while all are full.

    A rollout counts as the mean length of those returned, or as the longest allowed before the first returns.
    """

    def __init__(self, replicas: int) -> None:
        self._outstanding = [Outstanding() for _ in range(replicas)]
        self._max_tokens = 0
        self._returned_rollouts = self._returned_tokens = 0

    def next_replica(self, capacities: Sequence[int]) -> int | None:
        """Return the replica to send the next group to; None while all are full.

        `capacities` are the rollouts that each replica writes at a time, 0 for one that is not running.
        """
        loads = enumerate(zip(self._outstanding, capacities, strict=True))
        available = [replica for replica, (load, capacity) in loads if load.rollouts < FILL * capacity]
        return min(available, key=self.outstanding_tokens, default=None)

    def outstanding_tokens(self, replica: int) -> float:
        """Return an estimate of the tokens that `replica` has received and not returned: of prompts and of rollouts."""
        load, returned = self._outstanding[replica], self._returned_rollouts
        return load.prompt_tokens + load.rollouts * (self._returned_tokens / returned if returned else self._max_tokens)

    def assign(self, replica: int, task: GroupTask) -> None:
        """Add `task` to the load of `replica`."""
        self._max_tokens = max(self._max_tokens, task.sampling.max_tokens)
        load = self._outstanding[replica]
        load.rollouts += len(task.rollout_ids)
        load.prompt_tokens += len(task.prompt.token_ids)

    def remove(self, replica: int, task: GroupTask) -> None:
        """Remove `task` from the load of `replica`, which failed to write it."""
        load = self._outstanding[replica]
        load.rollouts -= len(task.rollout_ids)
        load.prompt_tokens -= len(task.prompt.token_ids)

    def complete(self, replica: int, task: GroupTask, group: Group) -> None:
        """Remove `task` from the load of `replica`, which returned `group` for it."""
        self.remove(replica, task)
        self._returned_rollouts += len(group.rollouts)
        self._returned_tokens += sum(map(len, group.rollouts))
