"""Sessions on vLLM's scheduler without a model: what two authors write is what one would, and waiting sessions cost no step."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.engine_layout import engine_specs
from actors.handoff_scheduler import HandoffScheduler, drafts
from actors.turn_messages import BegunTurn
from tandem.authors import Authors
from tandem.cogeneration import Limits
from tandem.config.schema import Config
from tandem.replay import replay
from tandem.rollout import JUNIOR, SENIOR, EndReason, Rollout
from tandem.schedule import BEGINS_WORD, SOLO, STEP, Schedule
from tests.support.scheduled_engine import Model, Pair, ScheduledEngine, during, one_rollout

pytestmark = pytest.mark.seconds  # it imports vLLM

PROMPT = [11, 12, 13]

schedules = st.builds(Schedule, st.floats(0, 1), st.integers(1, 9), st.booleans(), st.sampled_from([BEGINS_WORD, STEP]))


@pytest.fixture(scope="module")
def pair(config: Config, authors: Authors) -> Pair:
    """Two engines with the same model, whose next token depends on the whole text."""
    eos, width = authors.eos_ids[0], len(authors.boundaries)

    def model(text: Sequence[int]) -> int:
        token = hash(tuple(text)) % width
        return eos if token % 64 == 0 else token if token != eos else token - 1

    return new_pair(config, authors, model)


@pytest.fixture(scope="module")
def drafting(config: Config, pair: Pair, authors: Authors) -> ScheduledEngine:
    """The senior's engine with drafts of four tokens."""
    spec = engine_specs(replace(config, speculative=4, junior=["self"]), authors, "cpu", streams=True)[0][0]
    return ScheduledEngine(spec, pair[SENIOR].model)


def new_pair(config: Config, authors: Authors, model: Model, blocks: int = 1000) -> Pair:
    """Two engines with `model`; the junior's KV cache has `blocks` blocks."""
    specs = engine_specs(config, authors, "cpu")[0]
    return {spec.author: ScheduledEngine(spec, model, blocks if spec.author == JUNIOR else 1000) for spec in specs}


def endless(text: Sequence[int]) -> int:
    """A model that ends no text."""
    return 20 + hash(tuple(text)) % 300


def one(
    engines: Pair, authors: Authors, schedule: Schedule, index: int, seed: int, max_tokens: int, *, linked: bool = True
) -> Coroutine[Any, Any, Rollout]:
    """Write a rollout of the prompt of `index`."""
    limits = Limits(max_tokens, authors.context, frozenset(authors.eos_ids))
    return one_rollout(engines, authors, schedule, f"r{index}", seed, [*PROMPT, index], limits, linked=linked)


async def write(
    engines: Pair, authors: Authors, schedule: Schedule, seeds: Sequence[int], max_tokens: int, *, linked: bool = True
) -> list[Rollout]:
    """Write one rollout for each seed, all at the same time, each of a prompt of its own."""
    rollouts = enumerate(seeds)
    return await asyncio.gather(*(one(engines, authors, schedule, *each, max_tokens, linked=linked) for each in rollouts))


@given(
    schedule=schedules,
    seeds=st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=6),
    max_tokens=st.integers(1, 60),
    interval=st.integers(1, 60),
    linked=st.booleans(),
)
@settings(max_examples=50)
def test_two_authors_write_the_solo_text(
    pair: Pair, authors: Authors, schedule: Schedule, seeds: list[int], max_tokens: int, interval: int, linked: bool
) -> None:
    with ExitStack() as stack:
        for engine in pair.values():
            stack.enter_context(patch.multiple(engine.scheduler, _interval=interval, _collects=interval > 1))
        solo = during(pair, write(pair, authors, SOLO, seeds, max_tokens))
        both = during(pair, write(pair, authors, schedule, seeds, max_tokens, linked=linked))
    for alone, rollout in zip(solo, both, strict=True):
        assert rollout.token_ids.tolist() == alone.token_ids.tolist()
        assert rollout.end is alone.end
        assert rollout.end is EndReason.EOS or len(rollout) == max_tokens
        implied = replay(schedule, authors.boundaries, rollout.seed, rollout.token_ids).authorship
        assert rollout.authorship.tolist() == implied.tolist()
        assert rollout.logprobs.tolist() == (-np.arange(len(PROMPT) + 1, len(PROMPT) + 1 + len(rollout))).tolist()


def test_rollout_actor_begins_only_the_first_turn_of_each_author(
    pair: Pair, authors: Authors, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[BegunTurn] = []
    for engine in pair.values():
        monkeypatch.setattr(engine.exchange, "begin", begun.append)
    rollouts = during(pair, write(pair, authors, Schedule(alternates=True, max_gap_tokens=3), range(4), 40))
    assert sum(rollout.handoffs for rollout in rollouts) > 8
    assert not begun
    for engine in pair.values():
        assert not engine.scheduler._with_partner and not engine.scheduler._report


def test_engine_reports_several_steps_in_one_message_unless_it_streams(
    pair: Pair, authors: Authors, monkeypatch: pytest.MonkeyPatch
) -> None:
    def messages(*, collects: bool) -> int:
        for engine in pair.values():
            engine.messages = 0
            monkeypatch.setattr(engine.scheduler, "_collects", collects)
        during(pair, write(pair, authors, Schedule(max_gap_tokens=3), range(8), 40))
        return sum(engine.messages for engine in pair.values())

    monkeypatch.setattr(HandoffScheduler, "REPORT_S", 3600.0)
    assert messages(collects=True) < messages(collects=False)


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


def test_preempted_sessions_lose_no_token(config: Config, authors: Authors) -> None:
    # Texts of two blocks in a cache of seven, of which vLLM keeps one: a text that grows displaces another in mid-turn.
    pair, seeds, tokens = new_pair(config, authors, endless, blocks=7), range(5), 150
    solo = during(pair, write(pair, authors, SOLO, seeds, tokens))
    alone = during(pair, write(pair, authors, Schedule(prob_senior=0.0), seeds, tokens))
    assert [rollout.token_ids.tolist() for rollout in alone] == [rollout.token_ids.tolist() for rollout in solo]
    assert all((rollout.authorship == JUNIOR).all() for rollout in alone)
    assert pair[JUNIOR].preemptions > 0 and pair[SENIOR].preemptions == 0


def test_cancelled_rollouts_free_their_blocks_and_change_no_other(config: Config, authors: Authors) -> None:
    pair, tokens = new_pair(config, authors, endless), 120
    solo = during(pair, write(pair, authors, SOLO, range(6), tokens))

    async def cancel_every_other() -> list[Rollout]:
        writing = [asyncio.create_task(one(pair, authors, Schedule(), index, index, tokens)) for index in range(6)]
        while pair[JUNIOR].steps + pair[SENIOR].steps < 40:
            await asyncio.sleep(0)
        assert all(task.cancel() for task in writing[::2])
        left = await asyncio.gather(*writing[1::2])
        while any(engine.scheduler.requests for engine in pair.values()):
            await asyncio.sleep(0)
        return left

    for engine in pair.values():
        engine.steps = 0
    left = during(pair, cancel_every_other())
    assert [rollout.token_ids.tolist() for rollout in left] == [rollout.token_ids.tolist() for rollout in solo[1::2]]
    assert [engine.scheduler.kv_cache_manager.usage for engine in pair.values()] == [0, 0]


@given(seeds=st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=6), max_tokens=st.integers(1, 60))
@settings(max_examples=25)
def test_drafts_change_no_text(
    pair: Pair, drafting: ScheduledEngine, authors: Authors, seeds: list[int], max_tokens: int
) -> None:
    plain = during(pair, write(pair, authors, SOLO, seeds, max_tokens))
    engines, before = {SENIOR: drafting}, drafts()
    for alone, rollout in zip(plain, during(engines, write(engines, authors, SOLO, seeds, max_tokens)), strict=True):
        assert rollout.token_ids.tolist() == alone.token_ids.tolist()
        assert rollout.logprobs.tolist() == alone.logprobs.tolist()
        assert rollout.end is alone.end
    drafted, accepted = np.subtract(drafts(), before)
    assert 0 <= accepted <= drafted
    assert drafted or max(map(len, plain)) <= 2


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
