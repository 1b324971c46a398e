"""Single rollouts whose tokens arrive while they are written, on simulated replicas."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future
from contextlib import aclosing
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import streaming_pool
from actors.group_task import GroupTask
from actors.replica import ReplicaFailed
from actors.replicas import Call, ReplicaSet
from actors.streaming_pool import StreamingPool
from actors.token_stream import StreamedSession, TokenStream, WrittenTokens
from tandem.cogeneration import Token
from tandem.config.rollout import SamplingConfig
from tandem.rollout import JUNIOR, SENIOR, Group, Problem, Prompt, Rollout
from tandem.schedule import Pen, Schedule
from tests.support.builders import scheduled_rollout

RULE = Schedule(0.5, 2)
TASK = GroupTask(Prompt(Problem("", "", ""), (1,)), ("r",), (3,), RULE, SamplingConfig(), streamed=True)
ROLLOUT = scheduled_rollout(RULE, np.zeros(50, np.uint8), 3, range(20))
ROLLOUT.id = "r"


class Answer:
    """The reference to a simulated replica's answer."""

    def __init__(self) -> None:
        self.pending: Future[Any] = Future()

    def future(self) -> Future[Any]:
        return self.pending


class SimulatedReplicas:
    """Replicas with room for one rollout each, whose answers a test gives."""

    def __init__(self, count: int = 1) -> None:
        self.capacities = [1] * count
        self.calls: list[tuple[Call, Answer]] = []

    def call(self, replica: int, method: str, *_: Any) -> Call:
        answer = Answer()
        call = Call(replica, 0, method, cast(Any, answer))
        self.calls.append((call, answer))
        return call

    def answer(self, call: Call, get: Callable[[], Any]) -> Any:
        return get()

    def check(self) -> None:
        """Find nothing."""

    def last(self, method: str) -> tuple[Call, Answer]:
        return [each for each in self.calls if each[0].method == method][-1]

    async def called(self, method: str, times: int = 1) -> Answer:
        """Wait until `method` was called `times` times; return the last answer to give."""
        while [call.method for call, _ in self.calls].count(method) < times:
            await asyncio.sleep(0.001)
        return self.last(method)[1]


def run(test: Callable[[StreamingPool, SimulatedReplicas], Coroutine[Any, Any, None]], count: int = 1) -> None:
    async def main() -> None:
        replicas = SimulatedReplicas(count)
        pool = StreamingPool(cast(ReplicaSet, replicas))
        collecting = asyncio.ensure_future(pool.collect())
        try:
            await asyncio.wait_for(test(pool, replicas), 20)
        finally:
            collecting.cancel()
            await asyncio.gather(collecting, return_exceptions=True)

    asyncio.run(main())


async def collected(pool: StreamingPool, task: GroupTask = TASK) -> list[WrittenTokens | Rollout]:
    async with aclosing(pool.stream(task)) as parts:
        return [part async for part in parts]


def written(start: int, stop: int) -> list[WrittenTokens]:
    """Return the tokens of the rollout from `start` to `stop`, one by one."""
    return [
        WrittenTokens("r", int(ROLLOUT.authorship[at]), [int(ROLLOUT.token_ids[at])], [float(ROLLOUT.logprobs[at])])
        for at in range(start, stop)
    ]


@given(st.lists(st.integers(0, len(ROLLOUT)), max_size=3).map(sorted))
def test_stream_is_the_rollout_however_much_arrives_before_its_end(arrivals: list[int]) -> None:
    async def test(pool: StreamingPool, replicas: SimulatedReplicas) -> None:
        streaming = asyncio.ensure_future(collected(pool))
        group = await replicas.called("write_group")
        for index, (start, stop) in enumerate(zip([0, *arrivals], arrivals, strict=False), 1):
            answer = await replicas.called("written", index)
            answer.pending.set_result([WrittenTokens("other", 1, [7], [0.0]), *written(start, stop)])
        await replicas.called("written", len(arrivals) + 1)
        group.pending.set_result(Group(TASK.prompt, [ROLLOUT], RULE))
        *parts, rollout = await streaming
        assert rollout is ROLLOUT
        tokens = [
            (part.author, token, logprob)
            for part in cast(list[WrittenTokens], parts)
            for token, logprob in zip(part.ids, part.logprobs, strict=True)
        ]
        assert tokens == [(part.author, part.ids[0], part.logprobs[0]) for part in written(0, len(ROLLOUT))]

    run(test)


def test_rollout_is_written_again_if_its_replica_fails_before_the_first_token() -> None:
    async def test(pool: StreamingPool, replicas: SimulatedReplicas) -> None:
        streaming = asyncio.ensure_future(collected(pool))
        (await replicas.called("write_group")).pending.set_exception(ReplicaFailed("died"))
        (await replicas.called("write_group", 2)).pending.set_result(Group(TASK.prompt, [ROLLOUT], RULE))
        assert (await streaming)[-1] is ROLLOUT

    run(test, count=2)


def test_failure_after_the_first_token_ends_the_stream() -> None:
    async def test(pool: StreamingPool, replicas: SimulatedReplicas) -> None:
        streaming = pool.stream(TASK)
        first = asyncio.ensure_future(anext(streaming))
        group = await replicas.called("write_group")
        (await replicas.called("written")).pending.set_result(written(0, 1))
        assert await first == written(0, 1)[0]
        group.pending.set_exception(ReplicaFailed("died"))
        with pytest.raises(ReplicaFailed):
            await anext(streaming)

    run(test)


def test_closed_stream_cancels_the_rollout(monkeypatch: pytest.MonkeyPatch) -> None:
    cancelled: list[Any] = []
    monkeypatch.setattr(streaming_pool.ray, "cancel", cancelled.append)

    async def test(pool: StreamingPool, replicas: SimulatedReplicas) -> None:
        streaming = asyncio.ensure_future(collected(pool))
        group = await replicas.called("write_group")
        streaming.cancel()
        await asyncio.wait([streaming])
        assert cancelled == [group]

    run(test)


def test_rollout_waits_for_room() -> None:
    async def test(pool: StreamingPool, replicas: SimulatedReplicas) -> None:
        tasks = [replace(TASK, rollout_ids=(name,)) for name in "abc"]
        streaming = [asyncio.ensure_future(collected(pool, task)) for task in tasks]
        await replicas.called("write_group", 2)
        await asyncio.sleep(0.05)
        assert [call.method for call, _ in replicas.calls].count("write_group") == 2
        first = next(answer for call, answer in replicas.calls if call.method == "write_group")
        first.pending.set_result(Group(TASK.prompt, [ROLLOUT], RULE))
        await replicas.called("write_group", 3)
        for call, answer in replicas.calls:
            if call.method == "write_group" and not answer.pending.done():
                answer.pending.set_result(Group(TASK.prompt, [ROLLOUT], RULE))
        await asyncio.gather(*streaming)

    run(test)


class Told:
    """A session that has written two turns."""

    stop_reason = None

    def __init__(self) -> None:
        self.turns = [[Token(5, -1.0, 0), Token(6, -2.0, 0)], [], [Token(7, -3.0, 0)]]

    def begin_turn(self, new_tokens: Sequence[int], pen: Pen, budget: int) -> None:
        """Do nothing."""

    async def read(self) -> Sequence[Token]:
        return self.turns.pop(0)

    async def close(self) -> None:
        """Do nothing."""


def test_what_a_session_writes_is_taken_once() -> None:
    async def main() -> None:
        stream = TokenStream()
        session = StreamedSession(Told(), SENIOR, "r", stream)
        taking = asyncio.ensure_future(stream.take())
        await asyncio.sleep(0)
        assert not taking.done()
        assert [token.id for token in await session.read()] == [5, 6]
        assert not await session.read()
        assert await taking == [WrittenTokens("r", SENIOR, [5, 6], [-1.0, -2.0])]
        await session.read()
        stream.add(WrittenTokens("s", JUNIOR, [1], [0.0]))
        assert [(part.rollout_id, part.ids) for part in await stream.take()] == [("r", [7]), ("s", [1])]

    asyncio.run(asyncio.wait_for(main(), 10))
