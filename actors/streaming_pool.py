"""The replicas of a pool as writers of single rollouts, for one event loop: tokens arrive while they are written."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Never

import ray

from actors.dispatch import Dispatcher
from actors.group_task import GroupTask
from actors.replica import ReplicaFailed
from actors.replicas import Call, ReplicaSet
from actors.token_stream import WrittenTokens
from tandem.rollout import Group, Rollout

COLLECT_S = 0.02
"""The time between two calls for a replica's tokens: one call returns those of all its rollouts."""
RESTART_POLL_S = 0.5
"""The time between two checks whether a replica runs again."""


class StreamingPool:
    """Writes single rollouts on the replica with the fewest outstanding tokens. `collect` must run meanwhile."""

    def __init__(self, replica_set: ReplicaSet) -> None:
        self._replica_set = replica_set
        self._dispatcher = Dispatcher(len(replica_set.capacities))
        self._inboxes: dict[str, asyncio.Queue[WrittenTokens | None]] = {}
        """by rollout: the tokens to yield; None: the rollout has ended"""
        self._calls: dict[str, Call] = {}
        """the calls that write rollouts, by rollout"""
        self._ended = asyncio.Event()
        """set when a rollout ends"""

    @property
    def running(self) -> int:
        """The number of replicas that are running."""
        return sum(capacity > 0 for capacity in self._replica_set.capacities)

    async def collect(self) -> Never:
        """Fetch tokens from the replicas until cancelled. Raises what `ReplicaSet.check` raises."""
        await asyncio.gather(*(self._collect(replica) for replica in range(len(self._replica_set.capacities))))
        raise AssertionError("collectors do not return")

    async def _collect(self, replica: int) -> Never:
        while True:
            self._replica_set.check()
            try:
                for written in await self._answer(self._replica_set.call(replica, "written")):
                    if inbox := self._inboxes.get(written.rollout_id):  # else it was cancelled
                        inbox.put_nowait(written)
            except ReplicaFailed:
                await asyncio.sleep(RESTART_POLL_S)
            await asyncio.sleep(COLLECT_S)

    async def _answer(self, call: Call) -> Any:
        future = asyncio.wrap_future(call.answer.future())
        await asyncio.wait([future])
        return self._replica_set.answer(call, future.result)

    async def stream(self, task: GroupTask) -> AsyncGenerator[WrittenTokens | Rollout, None]:
        """Write the one rollout of `task`: yield its tokens as they arrive, and at last the rollout.

        A rollout whose replica fails before its first token arrives is written again. When the generator is closed, the rollout
        is cancelled, and frees what it holds. Raises `ReplicaFailed` and `RolloutError`.
        """
        (rollout_id,) = task.rollout_ids
        arrived = False
        while True:
            replica = await self._free_replica()
            try:
                async with aclosing(self._stream_on(replica, rollout_id, task)) as parts:
                    async for part in parts:
                        arrived = True
                        yield part
                return
            except ReplicaFailed:
                if arrived:
                    raise

    async def ask(self, rollout_id: str, method: str, *arguments: Any) -> Any:
        """Call `method(rollout_id, *arguments)` on the replica that writes the streamed rollout, and return the answer.

        Raises `KeyError` when no replica writes it, `ReplicaFailed` and `RolloutError`.
        """
        return await self._answer(self._replica_set.call(self._calls[rollout_id].replica, method, rollout_id, *arguments))

    def cancel_all(self) -> None:
        """Cancel all rollouts; their streams raise `RolloutError`."""
        for call in self._calls.values():
            ray.cancel(call.answer)

    async def _free_replica(self) -> int:
        """Wait until a replica has room, and return it. Raises what `ReplicaSet.check` raises."""
        while (replica := self._dispatcher.next_replica(self._replica_set.capacities)) is None:
            self._replica_set.check()
            self._ended.clear()
            try:
                await asyncio.wait_for(self._ended.wait(), RESTART_POLL_S)
            except TimeoutError:  # a replica may have restarted
                continue
        return replica

    async def _stream_on(self, replica: int, rollout_id: str, task: GroupTask) -> AsyncGenerator[WrittenTokens | Rollout, None]:
        call = self._replica_set.call(replica, "write_group", task)
        inbox = self._inboxes[rollout_id] = asyncio.Queue()
        self._calls[rollout_id] = call
        self._dispatcher.assign(replica, task)
        group, sent = None, 0

        def end(future: asyncio.Future[Group]) -> None:
            if not future.cancelled():
                future.exception()  # else asyncio reports the error of a cancelled rollout
            inbox.put_nowait(None)

        future = asyncio.wrap_future(call.answer.future())
        future.add_done_callback(end)
        try:
            while written := await inbox.get():
                sent += len(written.ids)
                yield written
            group = self._replica_set.answer(call, future.result)
            for part in _rest(group, sent):
                yield part
            yield group.rollouts[0]
        finally:
            del self._inboxes[rollout_id], self._calls[rollout_id]
            if not future.done():
                ray.cancel(call.answer)
            if group:
                self._dispatcher.complete(replica, task, group)
            else:
                self._dispatcher.remove(replica, task)
            self._ended.set()


def _rest(group: Group, sent: int) -> list[WrittenTokens]:
    """Return what follows the first `sent` tokens of the rollout of `group`, by turn."""
    (rollout,) = group.rollouts
    turns = [(turn.author, max(turn.start, sent), turn.stop) for turn in rollout.turns if turn.stop > sent]
    return [
        WrittenTokens(rollout.id, author, rollout.token_ids[start:stop].tolist(), rollout.logprobs[start:stop].tolist())
        for author, start, stop in turns
    ]
