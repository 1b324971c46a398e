"""Tests under pressure: little KV cache, evicted and preempted rollouts, cancelled ones, a dead engine.

Greedy and self-paired, every text must be the one that the senior writes alone where there is room.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from actors.admission import Admission
from actors.engine_layout import engine_specs
from actors.group_task import GroupTask
from tandem.authors import Authors
from tandem.cogeneration import AuthorFailed
from tandem.config.rollout import SamplingConfig
from tandem.config.schema import Config
from tandem.data.problems import load_problems
from tandem.data.prompts import encode
from tandem.replay import replay
from tandem.rollout import JUNIOR, SENIOR, EndReason, Problem, Prompt, Rollout, StopReason
from tandem.schedule import Schedule
from tests.support.builders import admission
from tests.support.engine_pair import EnginePair
from tests.support.watched_pair import DEADLINE_S, WatchedPair, until, watched_pair
from tests.support.writing import forward_logprobs

pytestmark = pytest.mark.engines

WORD, SOLO, JUNIOR_ALONE = Schedule(0.5, 32), Schedule(1.0), Schedule(0.0)
BLOCK = 128
"""tokens in a block of the KV cache, on a CPU"""
BLOCKS = {SENIOR: 16, JUNIOR: 6}
"""blocks of the engines with little KV cache; a text of full length takes two"""
ADMITTED = 3
MAX_TOKENS = 96


@pytest.fixture(scope="module")
def shared_cramped(config: Config, authors: Authors) -> Iterator[WatchedPair]:
    """Engines with little KV cache."""
    with watched_pair(engine_specs(config, authors, "cpu")[0], BLOCKS) as pair:
        yield pair


@pytest.fixture
def cramped(shared_cramped: WatchedPair) -> WatchedPair:
    shared_cramped.reset()
    actor = shared_cramped.pair.actor
    for key, engine in actor._engines.items():
        actor.admissions[key] = Admission(engine.kv_cache(), engine.spec.max_num_seqs)
    return shared_cramped


@pytest.fixture(scope="module")
def prompts(config: Config, authors: Authors) -> list[tuple[int, ...]]:
    problems = load_problems(config.data, seed=5, tokenizer=authors.tokenizer).train.batch(0, 16)
    return [prompt.token_ids for prompt in encode(problems, authors.tokenizer, config.data)[0]]


@pytest.fixture(scope="module")
def short_texts(engines: EnginePair, prompts: list[tuple[int, ...]]) -> list[Rollout]:
    """Solo rollouts with enough KV cache, each of which fits into one block."""
    rollouts = write(engines, [solo_task(prompt, f"short-solo/{i}") for i, prompt in enumerate(prompts)])
    assert all(rollout.end is EndReason.EOS and len(rollout.prompt_ids) + len(rollout) < BLOCK for rollout in rollouts)
    return rollouts


@pytest.fixture(scope="module")
def long_texts(engines: EnginePair, prompts: list[tuple[int, ...]]) -> list[Rollout]:
    """Solo rollouts with enough KV cache, each of which takes two blocks."""
    joined = [sum((prompts[i - k] for k in range(5)), ()) for i in range(len(prompts))]
    rollouts = write(engines, [solo_task(prompt, f"long-solo/{i}") for i, prompt in enumerate(joined)])
    assert all(len(rollout.prompt_ids) < BLOCK < len(rollout.prompt_ids) + len(rollout) - 1 for rollout in rollouts)
    return rollouts


def solo_task(prompt_ids: tuple[int, ...], name: str) -> GroupTask:
    """Return one greedy solo rollout of the senior."""
    return GroupTask(Prompt(Problem(name, "", ""), prompt_ids), (name,), (0,), SOLO, SamplingConfig(0.0, MAX_TOKENS))


def task(text: Rollout, name: str, schedule: Schedule, seed: int, more: int = 1) -> GroupTask:
    """Return the task that generates the same text again, with a budget of `more` tokens more if the context allows it."""
    alone = solo_task(tuple(text.prompt_ids.tolist()), name)
    return replace(alone, seeds=(seed,), schedule=schedule, sampling=SamplingConfig(0.0, len(text) + more))


def again(texts: list[Rollout], tag: str, schedule: Schedule, first_seed: int = 0) -> list[GroupTask]:
    return [task(text, f"{tag}/{i}", schedule, first_seed + i) for i, text in enumerate(texts)]


def write(pair: EnginePair, tasks: list[GroupTask]) -> list[Rollout]:
    """Return the rollouts of all tasks, generated at the same time."""

    async def all_groups() -> list[Rollout]:
        return [rollout for group in await asyncio.gather(*map(pair.actor.write_group, tasks)) for rollout in group.rollouts]

    return pair.run(all_groups())


def tokens(rollouts: list[Rollout]) -> list[list[int]]:
    return [rollout.token_ids.tolist() for rollout in rollouts]


@pytest.mark.parametrize("schedule", [WORD, SOLO, JUNIOR_ALONE], ids=["word", "solo", "junior"])
@pytest.mark.parametrize("end", list(EndReason))
def test_end_of_rollout_does_not_depend_on_author(
    engines: EnginePair, short_texts: list[Rollout], long_texts: list[Rollout], schedule: Schedule, end: EndReason
) -> None:
    # An end of sequence as the last token of the budget is still an end of sequence.
    solo_end, more = {
        EndReason.EOS: (EndReason.EOS, 0),
        EndReason.BUDGET: (EndReason.EOS, -1),
        EndReason.CONTEXT: (EndReason.CONTEXT, 1),
    }[end]
    texts = [text for text in short_texts + long_texts if text.end is solo_end]
    rollouts = write(engines, [task(text, f"{end}/{schedule}/{i}", schedule, i, more) for i, text in enumerate(texts)])
    assert tokens(rollouts) == [text.token_ids[: len(text) + more].tolist() for text in texts]
    for rollout in rollouts:
        last = int(rollout.authorship[-1])
        assert rollout.end is end
        assert rollout.stop_reasons[last] is (StopReason.EOS if end is EndReason.EOS else StopReason.LENGTH)
        assert rollout.stop_reasons.get(1 - last) is (StopReason.HANDOFF if rollout.handoffs else None)
    assert len({int(rollout.authorship[-1]) for rollout in rollouts}) == (2 if schedule is WORD else 1)


def test_small_kv_cache_limits_admission_and_changes_no_token(cramped: WatchedPair, long_texts: list[Rollout]) -> None:
    rollouts = write(cramped.pair, again(long_texts, "cramped", WORD) + again(long_texts, "cramped-too", WORD, first_seed=100))
    assert tokens(rollouts) == 2 * tokens(long_texts)
    assert all(rollout.handoffs for rollout in rollouts)
    for watch in cramped.watches.values():
        assert (watch.requests, watch.preemptions) == (ADMITTED, 0)


def admit(watched: WatchedPair, places: int) -> None:
    """Have the rollout actor admit `places` rollouts to each engine, however little KV cache it has."""
    admissions = watched.pair.actor.admissions
    admissions.update({key: admission(places) for key in admissions})


@pytest.mark.parametrize("schedule", [WORD, SOLO, JUNIOR_ALONE], ids=["word", "solo", "junior"])
def test_more_rollouts_than_the_caches_hold_write_the_same_texts(
    cramped: WatchedPair, long_texts: list[Rollout], authors: Authors, schedule: Schedule
) -> None:
    admit(cramped, len(long_texts))
    rollouts = write(cramped.pair, again(long_texts, f"crowded-{schedule.prob_senior}", schedule))
    assert tokens(rollouts) == tokens(long_texts)
    for rollout, text in zip(rollouts, long_texts, strict=True):
        np.testing.assert_allclose(rollout.logprobs, text.logprobs, atol=1e-4)
        implied = replay(schedule, authors.boundaries, rollout.seed, rollout.token_ids).authorship
        np.testing.assert_array_equal(rollout.authorship, implied)
    assert cramped.watches[SENIOR if schedule is SOLO else JUNIOR].preemptions > 0


def test_sampled_tokens_of_evicted_rollouts_have_the_log_probabilities_of_the_model(
    cramped: WatchedPair, long_texts: list[Rollout], authors: Authors
) -> None:
    admit(cramped, len(long_texts))
    sampled = [replace(each, sampling=SamplingConfig(1.0, MAX_TOKENS)) for each in again(long_texts, "sampled", WORD)]
    model = AutoModelForCausalLM.from_pretrained(authors.senior, dtype=torch.float32)
    for rollout in write(cramped.pair, sampled):
        np.testing.assert_allclose(rollout.logprobs, forward_logprobs(model, rollout), atol=1e-4)
    assert cramped.watches[JUNIOR].preemptions > 0


def test_short_texts_raise_the_number_of_rollouts_in_flight(cramped: WatchedPair, short_texts: list[Rollout]) -> None:
    tasks = [each for tag in "abc" for each in again(short_texts, f"short-{tag}", WORD)]
    assert tokens(write(cramped.pair, tasks)) == 3 * tokens(short_texts)
    assert max(watch.requests for watch in cramped.watches.values()) > ADMITTED


def test_cancelled_rollouts_free_blocks_and_change_no_other(cramped: WatchedPair, short_texts: list[Rollout]) -> None:
    admit(cramped, BLOCKS[JUNIOR] + 1)

    async def cancel_every_other() -> list[Rollout]:
        await cramped.all_blocks_are_free()
        writing = [asyncio.create_task(cramped.pair.actor.write_group(each)) for each in again(short_texts, "cancelled", WORD)]
        await until(lambda: min(watch.kv_cache_usage for watch in cramped.watches.values()) > 0)
        assert all(each.cancel() for each in writing[::2])
        groups = await asyncio.gather(*writing[1::2])
        assert all(each.cancelled() for each in writing[::2])
        await cramped.all_blocks_are_free()
        return [rollout for group in groups for rollout in group.rollouts]

    assert tokens(cramped.pair.run(cancel_every_other())) == tokens(short_texts[1::2])


def test_cancelled_group_leaves_no_request(cramped: WatchedPair, long_texts: list[Rollout]) -> None:
    # Most rollouts still wait for admission and end at once; the others end after their requests.
    actor, size = cramped.pair.actor, 4 * ADMITTED
    whole = task(long_texts[0], "whole", WORD, 0)
    whole = replace(whole, rollout_ids=tuple(f"whole/{k}" for k in range(size)), seeds=tuple(range(size)))

    async def free_places() -> list[int]:
        writing = asyncio.create_task(actor.write_group(whole))
        await cramped.both_wrote(10)
        writing.cancel()
        await asyncio.wait([writing])
        assert writing.cancelled()
        return [admission._semaphore._value for admission in actor.admissions.values()]

    assert sorted(cramped.pair.run(free_places())) == [ADMITTED, BLOCKS[SENIOR] // 2]


def test_error_of_dead_engine_names_both_authors(cramped: WatchedPair, long_texts: list[Rollout]) -> None:
    # The last test with these engines: their junior is killed.
    actor = cramped.pair.actor

    async def kill_the_junior() -> list[Any]:
        tasks = again(long_texts, "bereft", WORD)
        writing = [asyncio.create_task(actor.write_group(each)) for each in tasks]
        await cramped.both_wrote(10)
        (process,) = actor._engines[JUNIOR, 0]._llm.engine_core.resources.engine_manager.processes
        os.kill(process.pid, signal.SIGKILL)
        async with asyncio.timeout(DEADLINE_S):
            errors = await asyncio.gather(*writing, return_exceptions=True)
            await until(lambda: cramped.watches[SENIOR].kv_cache_usage == 0)
        return errors

    errors = cramped.pair.run(kill_the_junior())
    for i, error in enumerate(errors):
        assert isinstance(error, AuthorFailed)
        said = rf"rollout bereft/{i}: the junior failed after \d+ tokens .*; the senior cannot continue alone"
        assert re.fullmatch(said, str(error))
    assert tokens(write(cramped.pair, again(long_texts, "widowed", SOLO))) == tokens(long_texts)
