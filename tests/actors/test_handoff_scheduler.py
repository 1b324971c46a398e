"""Sessions on vLLM's scheduler without a model: what two authors write is what one would, and waiting sessions cost no step."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.placement import engine_specs
from tandem.authors import Authors
from tandem.cogeneration import Limits, cogenerate
from tandem.config.schema import Config
from tandem.rollout import JUNIOR, SENIOR, EndReason, Rollout
from tandem.schedule import BEGINS_WORD, SOLO, Schedule, replay
from tests.support.scheduled_engine import ScheduledEngine, run

T = TypeVar("T")
PROMPT = [11, 12, 13]
Pair = dict[int, ScheduledEngine]

schedules = st.builds(Schedule, st.floats(0, 1), st.integers(1, 9), st.booleans(), st.just(BEGINS_WORD))


@pytest.fixture(scope="module")
def pair(config: Config, authors: Authors) -> Pair:
    """Two engines with the same model, whose next token depends on the whole text."""
    eos, width = authors.eos_ids[0], len(authors.boundaries)

    def model(text: Sequence[int]) -> int:
        token = hash(tuple(text)) % width
        return eos if token % 64 == 0 else token if token != eos else token - 1

    return {spec.author: ScheduledEngine(spec, model) for spec in engine_specs(config, authors, "cpu")[0]}


def during(engines: Pair, writing: Coroutine[Any, Any, T]) -> T:
    """The result of `writing` while the engines run."""

    async def both() -> T:
        running = asyncio.create_task(run(list(engines.values())))
        try:
            return await asyncio.wait_for(writing, timeout=60)
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running

    return asyncio.run(both())


async def write(engines: Pair, authors: Authors, schedule: Schedule, seeds: Sequence[int], max_tokens: int) -> list[Rollout]:
    """One rollout for each seed, all at the same time, each of a prompt of its own."""
    names = [SENIOR] if schedule.solo else [SENIOR, JUNIOR]
    limits = Limits(max_tokens, authors.context, frozenset(authors.eos_ids))

    def one(index: int, seed: int) -> Coroutine[Any, Any, Rollout]:
        sessions = {author: engines[author].session(f"r{index}") for author in names}
        return cogenerate(f"r{index}", [*PROMPT, index], sessions, schedule, authors.boundaries, seed, limits)

    return list(await asyncio.gather(*(one(index, seed) for index, seed in enumerate(seeds))))


@given(schedule=schedules, seeds=st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=6), max_tokens=st.integers(1, 60))
@settings(max_examples=25)
def test_two_authors_write_the_solo_text(
    pair: Pair, authors: Authors, schedule: Schedule, seeds: list[int], max_tokens: int
) -> None:
    solo = during(pair, write(pair, authors, SOLO, seeds, max_tokens))
    for alone, rollout in zip(solo, during(pair, write(pair, authors, schedule, seeds, max_tokens)), strict=True):
        assert rollout.token_ids.tolist() == alone.token_ids.tolist()
        assert rollout.end is alone.end
        assert rollout.end is EndReason.EOS or len(rollout) == max_tokens
        implied = replay(schedule, authors.boundaries, rollout.seed, rollout.token_ids).authorship
        assert rollout.authorship.tolist() == implied.tolist()
        assert rollout.logprobs.tolist() == (-np.arange(len(PROMPT) + 1, len(PROMPT) + 1 + len(rollout))).tolist()


def test_sessions_that_wait_for_a_turn_need_no_step_and_are_freed_when_closed(pair: Pair, authors: Authors) -> None:
    engine = pair[SENIOR]

    async def wait_and_close() -> tuple[tuple[int, int], bool]:
        sessions = [engine.session(f"w{index}") for index in range(3)]
        pen = Schedule(max_gap_tokens=1, alternates=True).pen(0)
        for session in sessions:
            session.begin_turn(PROMPT, pen, 8)
        for session in sessions:
            assert len(await session.read()) == 1
        scheduler = engine.scheduler
        found = scheduler.get_request_counts(), scheduler.has_unfinished_requests()
        assert not scheduler.kv_holding_waiting and not scheduler.waiting and scheduler.kv_cache_manager.usage > 0
        for session in sessions:
            await session.close()
        while scheduler.requests:
            await asyncio.sleep(0)
        return found

    assert during(pair, wait_and_close()) == ((0, 3), False)
    assert engine.scheduler.kv_cache_manager.usage == 0
    assert not engine.scheduler._turns and not engine.scheduler._waiting_sessions


def test_parts_of_a_turn_have_the_interval_of_the_engine(config: Config, authors: Authors) -> None:
    spec = replace(engine_specs(config, authors, "cpu")[0][0], stream_interval=4)
    engine = ScheduledEngine(spec, lambda text: 20 + len(text) % 5)

    async def lengths() -> list[int]:
        session = engine.session("r")
        session.begin_turn(PROMPT, SOLO.pen(0), 10)
        parts: list[int] = []
        while sum(parts) < 10:
            parts.append(len(await session.read()))
        await session.close()
        return parts

    assert during({SENIOR: engine}, lengths()) == [4, 4, 2]
