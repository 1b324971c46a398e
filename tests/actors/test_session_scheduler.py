"""More rollouts than the KV caches hold, on vLLM's scheduler without a model: all end, with the texts that room gives them."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from actors.engine_layout import engine_specs
from tandem.authors import Authors
from tandem.cogeneration import Limits
from tandem.config.schema import Config
from tandem.replay import replay
from tandem.rollout import JUNIOR, SENIOR, Rollout, StopReason
from tandem.schedule import BEGINS_WORD, SOLO, STEP, Schedule
from tests.support.scheduled_engine import Pair, ScheduledEngine, during, one_rollout

pytestmark = pytest.mark.seconds  # it imports vLLM

LONGEST = 256
"""tokens of the longest text; it takes two blocks of 128"""
ROOM = 1000
schedules = st.builds(Schedule, st.floats(0, 1), st.integers(1, 9), st.booleans(), st.sampled_from([BEGINS_WORD, STEP]))


def new_pair(
    config: Config,
    authors: Authors,
    senior_blocks: int,
    junior_blocks: int,
    *,
    ahead: Collection[int] = (),
    longest: int = LONGEST,
    rollouts: int = 0,
) -> Pair:
    """Return two engines with KV caches of the given blocks, and the same model, whose next token depends on the whole text.

    Those of the authors in `ahead` schedule as on a GPU (see `ScheduledEngine`). The engines hold texts of `longest` tokens,
    and `rollouts` of them at a time (0: the default).
    """
    eos, width = authors.eos_ids[0], len(authors.boundaries)

    def model(text: Sequence[int]) -> int:
        token = hash(tuple(text)) % width
        return eos if token % 128 == 0 else token if token != eos else token - 1

    blocks = {SENIOR: senior_blocks, JUNIOR: junior_blocks}
    specs = [
        replace(spec, max_model_len=longest, max_num_seqs=rollouts or spec.max_num_seqs)
        for spec in engine_specs(config, authors, "cpu")[0]
    ]
    # vLLM keeps a block for itself.
    return {spec.author: ScheduledEngine(spec, model, blocks[spec.author] + 1, ahead=spec.author in ahead) for spec in specs}


async def write(pair: Pair, authors: Authors, schedule: Schedule, number: int) -> list[Rollout]:
    """Write rollouts of prompts of different lengths, all at the same time."""
    limits = Limits(LONGEST, LONGEST, frozenset(authors.eos_ids))
    prompts = ([20 + seed] * (3 + 11 * seed) for seed in range(number))
    rollouts = (
        one_rollout(pair, authors, schedule, f"r{seed}", seed, prompt, limits, age_rank=seed)
        for seed, prompt in enumerate(prompts)
    )
    return await asyncio.gather(*rollouts)


@pytest.mark.parametrize(
    ("ahead", "shared"),
    [((), False), ((), True), ((SENIOR, JUNIOR), False), ((SENIOR, JUNIOR), True), ((SENIOR,), False)],
    ids=["cpu-pair", "cpu-shared", "gpu-pair", "gpu-shared", "turns-return-within-a-step"],
)
def test_rollouts_end_with_the_same_texts_however_small_the_caches(
    config: Config, authors: Authors, ahead: Collection[int], shared: bool
) -> None:
    spacious = new_pair(config, authors, ROOM, ROOM)
    evictions = preemptions = 0

    @given(schedule=schedules, number=st.integers(1, 14), blocks=st.tuples(st.integers(2, 9), st.integers(2, 9)))
    @example(schedule=Schedule(0.5, 9), number=14, blocks=(2, 2))  # with evictions and preemptions
    @settings(max_examples=20)
    def check(schedule: Schedule, number: int, blocks: tuple[int, int]) -> None:
        nonlocal evictions, preemptions
        cramped = new_pair(config, authors, *blocks, ahead=ahead)
        if shared:  # a text of full length of each author
            cramped = dict.fromkeys(cramped, new_pair(config, authors, 2 + blocks[0], 2, ahead=ahead)[SENIOR])
        rollouts = during(cramped, write(cramped, authors, schedule, number))
        for alone, rollout in zip(during(spacious, write(spacious, authors, SOLO, number)), rollouts, strict=True):
            assert rollout.token_ids.tolist() == alone.token_ids.tolist()
            assert rollout.end is alone.end
            implied = replay(schedule, authors.boundaries, rollout.seed, rollout.token_ids).authorship
            assert rollout.authorship.tolist() == implied.tolist()
            prompt = len(rollout.prompt_ids)
            np.testing.assert_array_equal(rollout.logprobs, -np.arange(prompt, prompt + len(rollout)))
            assert rollout.stop_reasons.get(1 - int(rollout.authorship[-1])) in (None, StopReason.HANDOFF)
        for engine in cramped.values():
            evictions, preemptions = evictions + len(engine.evicted), preemptions + engine.preemptions
            scheduler = engine.scheduler
            while engine.inbox or engine._pending:
                engine.step()
            assert not scheduler.requests and not scheduler._waiting_sessions and not scheduler._evicted
            assert scheduler.kv_cache_manager.usage == 0
            assert scheduler.preemptions == len(engine.evicted) + engine.preemptions, "those of the last `kv_use` on"

    check()
    assert evictions and preemptions
    assert not any(engine.evicted or engine.preemptions for engine in spacious.values())
    assert spacious[SENIOR].not_allocated


def test_oldest_rollout_keeps_its_blocks(config: Config, authors: Authors) -> None:
    pair = new_pair(config, authors, 2, 2)
    during(pair, write(pair, authors, Schedule(), 6))
    evicted = {name.split("-")[0] for engine in pair.values() for name in engine.evicted}
    assert evicted and "r0" not in evicted


def test_turns_that_exceed_the_budget_of_a_step_are_not_cut(config: Config, authors: Authors) -> None:
    """A CPU engine does not cut prompts (see `vllm_arguments`): `ScheduledEngine` checks it."""
    number = 128
    pair = new_pair(config, authors, ROOM, ROOM, rollouts=number)
    limits = Limits(LONGEST, LONGEST, frozenset(authors.eos_ids))
    schedule = Schedule(0.5, 32, boundary=0)

    async def all_of_them() -> list[Rollout]:
        rollouts = (
            one_rollout(pair, authors, schedule, f"r{seed}", seed, [seed] * 3, limits, age_rank=seed) for seed in range(number)
        )
        return await asyncio.gather(*rollouts)

    assert all(map(len, during(pair, all_of_them())))


def test_oldest_rollout_does_not_wait_for_younger_ones(config: Config, authors: Authors) -> None:
    """Its prompt takes nearly the whole budget of a step, which the others leave only if they wait."""
    longest, number, arrival = 1024, 30, 50
    pair = new_pair(config, authors, ROOM, ROOM, longest=longest, rollouts=number + 1)
    limits, schedule = Limits(200, longest, frozenset(authors.eos_ids)), Schedule(0.5, 3, boundary=0)

    async def late() -> Rollout:
        while pair[SENIOR].steps < arrival:
            await asyncio.sleep(0)
        prompt = [7] * (longest - 10)
        return await one_rollout(pair, authors, schedule, "oldest", number, prompt, limits, age_rank=-1)

    async def all_of_them() -> None:
        younger = (
            one_rollout(pair, authors, schedule, f"r{seed}", seed, [20 + seed] * 3, limits, age_rank=seed)
            for seed in range(number)
        )
        await asyncio.gather(late(), *younger)

    during(pair, all_of_them())
    firsts = [step for engine in pair.values() for name, step in engine.first_steps.items() if name.startswith("oldest-")]
    assert max(firsts) < arrival + 20 < pair[SENIOR].steps
