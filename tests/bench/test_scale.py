"""Tests of bench.scale: the groups of its simulated replicas, and its figures."""

from __future__ import annotations

import asyncio

import pytest

from actors.group_task import GroupTask
from bench.scale import ScalingPoint, figures
from bench.simulated import IN_FLIGHT, SimulatedReplicas, longest_rollout
from tandem.config.rollout import SamplingConfig
from tandem.rollout import Group, Problem, Prompt
from tandem.schedule import Schedule


@pytest.mark.parametrize("tokens", [3_000, 32_000])
def test_simulated_group_is_as_large_as_real_one(tokens: int) -> None:
    prompt = Prompt(Problem("0", "?", "!"), (1, 2, 3))
    task = GroupTask(prompt, ("a", "b"), (7, 8), Schedule(), SamplingConfig(1.0, tokens))

    async def written() -> Group:
        replicas = SimulatedReplicas(longest_rollout, 1e-3)
        assert await replicas.call(5, "start") == IN_FLIGHT
        return await replicas.call(5, "write_group", task)

    group = asyncio.run(written())
    assert group.prompt == prompt
    assert [(rollout.id, rollout.seed, len(rollout)) for rollout in group.rollouts] == [("a", 7, tokens), ("b", 8, tokens)]
    arrays = [a for r in group.rollouts for a in (r.token_ids, r.authorship, r.logprobs, r.weight_versions)]
    assert sum(array.nbytes for array in arrays) == 2 * tokens * 13
    assert len({array.ctypes.data for array in arrays}) == len(arrays), "pickle sends an array that occurs twice once"


def test_efficiency_compares_with_as_many_times_one_replica() -> None:
    runs = [ScalingPoint(1, 256, 32.0, 0.1), ScalingPoint(8, 2048, 40.0, 1.024)]
    assert figures(runs) == {
        "efficiency_at_8": 0.8,
        "throughput_at_1": 8.0,
        "throughput_at_8": 51.2,
        "driver_cpu_ms_per_rollout": 0.5,
    }
