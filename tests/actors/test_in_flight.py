"""Tests of weight syncs during generation: engines pause and continue, and every token keeps its version."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
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


def write(
    watched: WatchedPair, name: str, schedule: Schedule, temperature: float, arriving: list[PublishedWeights]
) -> list[Rollout]:
    """Generate four rollouts; the next weights arrive after each sixteenth of the senior's tokens."""
    prompt = Prompt(Problem(name, "", ""), tuple(range(10, 30)))
    names = tuple(f"{name}/{k}" for k in range(4))
    task = GroupTask(prompt, names, (1, 2, 3, 4), schedule, SamplingConfig(temperature, TOKENS))

    actor, senior = watched.pair.actor, watched.watches[SENIOR]

    async def both() -> list[Rollout]:
        writing = asyncio.ensure_future(actor.write_group(task))
        for published in arriving:
            senior.reset()
            await until(lambda: senior.tokens >= 4 * TOKENS / 16)
            assert not writing.done(), "the weights arrived too late for this test"
            assert await actor.receive_weights(published) == published.version
        return (await writing).rollouts

    return watched.pair.run(both())


@pytest.mark.parametrize("schedule", [Schedule(1.0), Schedule(0.5, 32)], ids=["solo", "word"])
def test_pause_for_weight_sync_changes_no_token_and_no_version(
    watched: WatchedPair, authors: Authors, tmp_path: Path, schedule: Schedule
) -> None:
    model = AutoModelForCausalLM.from_pretrained(authors.senior, dtype=torch.float32)
    publisher = Publisher(model, tmp_path / "segment", bucket_bytes=1 << 20)
    base = publisher.publish(0)
    assert base is not None
    watched.pair.run(watched.pair.actor.receive_weights(base))
    undisturbed = write(watched, f"calm-{schedule.prob_senior}", schedule, 0.0, [])
    same_weights = [replace(base, version=version) for version in (1, 2)]
    paused = write(watched, f"paused-{schedule.prob_senior}", schedule, 0.0, same_weights)
    for calm, rollout in zip(undisturbed, paused, strict=True):
        np.testing.assert_array_equal(rollout.token_ids, calm.token_ids)
        assert np.unique(calm.weight_versions[calm.authorship == SENIOR]).tolist() == [0]
        versions = rollout.weight_versions[rollout.authorship == SENIOR]
        assert (np.diff(versions) >= 0).all() and np.unique(versions).tolist() == [0, 1, 2]

    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1 + 0.1 * torch.randn_like(parameter))
    old = AutoModelForCausalLM.from_pretrained(authors.senior, dtype=torch.float32)
    changed = publisher.publish(3)
    assert changed is not None
    shown = False
    for rollout in write(watched, f"changed-{schedule.prob_senior}", schedule, 1.0, [changed]):
        gap = np.abs(rollout.logprobs - forward_logprobs(old, rollout))
        apart = np.abs(forward_logprobs(model, rollout) - forward_logprobs(old, rollout))
        before, after = ((rollout.authorship == SENIOR) & (rollout.weight_versions == version) for version in (2, 3))
        assert gap[before].max() < 1e-3
        # A text may repeat a token forever, which is certain under both weights.
        assert gap[after].max() > 0.1 or apart[after].max() < 0.1
        shown |= bool(gap[after].max() > 0.1)
    assert shown
    assert watched.watches[SENIOR if schedule.solo else JUNIOR].preemptions > 0
    publisher.close()
