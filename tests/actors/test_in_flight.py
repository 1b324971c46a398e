"""Tests of weight syncs during generation: engines pause and continue, and every token keeps its version."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from actors.engine_layout import engine_specs
from actors.group_task import GroupTask
from learner.publish import Publisher
from tandem.authors import Authors
from tandem.config.rollout import SamplingConfig
from tandem.config.schema import Config
from tandem.rollout import JUNIOR, SENIOR, Problem, Prompt, Rollout
from tandem.runtime.weights import PublishedWeights
from tandem.schedule import Schedule
from tests.support.builders import admission
from tests.support.watched_pair import WatchedPair, until, watched_pair
from tests.support.writing import forward_logprobs

pytestmark = pytest.mark.engines

TOKENS = 400
ATTEMPTS = 10


@pytest.fixture(scope="module")
def watched(config: Config, authors: Authors) -> Iterator[WatchedPair]:
    """A senior and its copy that ignore the end of sequence; their KV caches hold fewer rollouts than they write."""
    ahead = replace(config, rollout=replace(config.rollout, max_staleness=1))
    specs = engine_specs(ahead, authors, "cpu")[0]
    specs = [replace(spec, max_model_len=512, max_num_seqs=4, eos_ids=()) for spec in specs]
    with watched_pair(specs, {SENIOR: 13, JUNIOR: 11}) as watched:
        admissions = watched.pair.actor.admissions
        admissions.update({key: admission(4) for key in admissions})
        yield watched


def attempts(
    watched: WatchedPair,
    base: PublishedWeights,
    name: str,
    schedule: Schedule,
    temperature: float = 0.0,
    arriving: Sequence[PublishedWeights] = (),
) -> Iterator[list[Rollout]]:
    """Generate four rollouts from `base`. The next weights arrive after each sixteenth of the tokens.

    Repeat this, and yield the rollouts each time, until one of them has senior tokens of all versions.
    """
    prompt = Prompt(Problem(name, "", ""), tuple(range(10, 30)))
    names = tuple(f"{name}/{k}" for k in range(4))
    task = GroupTask(prompt, names, (1, 2, 3, 4), schedule, SamplingConfig(temperature, TOKENS))
    actor, senior = watched.pair.actor, watched.watches[SENIOR]

    async def attempt() -> list[Rollout]:
        await actor.receive_weights(base)
        writing = asyncio.ensure_future(actor.write_group(task))

        async def senior_writes(tokens: float) -> None:
            enough = senior.tokens + tokens
            await until(lambda: senior.tokens >= enough or writing.done())

        for published in arriving:
            await senior_writes(4 * TOKENS / 16)
            assert await actor.receive_weights(published) == published.version
        return (await writing).rollouts

    expected = [base.version, *(published.version for published in arriving)]
    for _ in range(ATTEMPTS):
        yield (rollouts := watched.pair.run(attempt()))
        versions = [rollout.weight_versions[rollout.authorship == SENIOR] for rollout in rollouts]
        assert all((np.diff(each) >= 0).all() and set(each) <= set(expected) for each in versions)
        if any(set(each) == set(expected) for each in versions):
            return
    pytest.fail(f"no rollout has the versions {expected} in {ATTEMPTS} attempts")


@pytest.mark.parametrize("schedule", [Schedule(1.0), Schedule(0.5, 32)], ids=["solo", "word"])
def test_pause_for_weight_sync_changes_no_token_and_no_version(
    watched: WatchedPair, authors: Authors, tmp_path: Path, schedule: Schedule
) -> None:
    model = AutoModelForCausalLM.from_pretrained(authors.senior, dtype=torch.float32)
    publisher = Publisher(model, tmp_path / "base", bucket_bytes=1 << 20)
    base = publisher.publish(0)
    assert base is not None
    watched.reset()
    (undisturbed,) = attempts(watched, base, f"calm-{schedule.prob_senior}", schedule)
    same_weights = [replace(base, version=version) for version in (1, 2)]
    for paused in attempts(watched, base, f"paused-{schedule.prob_senior}", schedule, arriving=same_weights):
        for calm, rollout in zip(undisturbed, paused, strict=True):
            np.testing.assert_array_equal(rollout.token_ids, calm.token_ids)
            assert np.unique(calm.weight_versions[calm.authorship == SENIOR]).tolist() == [0]

    torch.manual_seed(0)
    changed_model = AutoModelForCausalLM.from_pretrained(authors.senior, dtype=torch.float32)
    with torch.no_grad():
        for parameter in changed_model.parameters():
            parameter.mul_(1 + 0.1 * torch.randn_like(parameter))
    changed_publisher = Publisher(changed_model, tmp_path / "changed", bucket_bytes=1 << 20)
    changed = changed_publisher.publish(1)
    assert changed is not None
    shown = False
    *_, last = attempts(watched, base, f"changed-{schedule.prob_senior}", schedule, 1.0, [changed])
    for rollout in last:
        gap = np.abs(rollout.logprobs - forward_logprobs(model, rollout))
        apart = np.abs(forward_logprobs(changed_model, rollout) - forward_logprobs(model, rollout))
        before, after = ((rollout.authorship == SENIOR) & (rollout.weight_versions == version) for version in (0, 1))
        assert gap[before].max(initial=0) < 1e-3
        # A text may repeat a token forever, which is certain under both weights.
        assert gap[after].max(initial=0) > 0.1 or apart[after].max(initial=0) < 0.1
        shown |= bool(gap[after].max(initial=0) > 0.1)
    assert shown
    assert watched.watches[SENIOR if schedule.solo else JUNIOR].preemptions > 0
    publisher.close()
    changed_publisher.close()
