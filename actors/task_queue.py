"""What the pool of rollout actors is to write: groups, handed out one by one when they may be begun."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue

from actors.rollout import GroupTask


class TaskQueue:
    """Hands out groups with their index for as long as `begin` has any; it may have none now and some later.

    One thread writes what the queue hands out (`actors.rollout_pool.RolloutPool.write`); others may call all but `begin`.
    """

    def __init__(self, begin: Callable[[], tuple[int, GroupTask] | None]) -> None:
        self.begin = begin
        """the next group to write, after its index; None if none may be begun now"""
        self.events: SimpleQueue[Future | None] = SimpleQueue()
        """groups that finished; None: look again whether one may be begun"""
        self.ended = False
        """whether nothing comes after what `begin` still has"""
        self.cancelled = False
        """whether what is in flight shall be given up"""

    def wake(self) -> None:
        """There may be another group to begin."""
        self.events.put(None)

    def end(self) -> None:
        """Once `begin` has no group left, there will be no other."""
        self.ended = True
        self.wake()

    def cancel(self) -> None:
        """Gives up what is in flight; nothing more is begun."""
        self.cancelled = True
        self.wake()
