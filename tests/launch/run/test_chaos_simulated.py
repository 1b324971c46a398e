"""Test that a run on lockstep engines, in which one process of each kind is killed, equals a run without kills."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import psutil
import ray
from ray.actor import ActorHandle

from actors.group_task import GroupTask
from actors.replica import ActorReplica
from actors.replicas import ReplicaSet
from actors.rollout_pool import RolloutPool
from launch.cluster.reservation import Placements
from launch.run.inputs import Inputs
from tandem.config.schema import Config
from tandem.rollout import Group
from tandem.runtime.processes import ProcessLocation, process_location
from tandem.runtime.restarts import RestartBudget
from tests.support.lockstep import Lockstep
from tests.support.lockstep_runs import rows, run, samples, weights
from tests.support.monkey import Monkey, command, descendants, plan, titled, workers
from tests.support.shared_memory import abandoned_files

SEED = 7
LONGEST_DELAY_S = 0.1
GROUP_S = 0.5
"""The minimum time to generate a group; without it a step of this small model would end before a kill."""
VICTIMS = {
    "rollout actor": titled("LockstepActor"),
    "learner rank": titled("Rank"),
    "reward actor": titled("RewardActor"),
    "reward worker": workers,
}


class LockstepActor(Lockstep):
    """Engines in lockstep in a separate process."""

    def write_group(self, task: GroupTask) -> Group:
        time.sleep(GROUP_S)
        return super().write_group(task)

    def processes(self) -> dict[str, ProcessLocation]:
        return {"": process_location()}


def start_two(inputs: Inputs, done: int, budget: RestartBudget, placements: Placements) -> RolloutPool:
    """Start two rollout actors that can be killed."""
    # Ray's workers lack the folders that pytest adds to the path.
    path = {"env_vars": {"PYTHONPATH": os.pathsep.join(sys.path)}}
    actor = ray.remote(LockstepActor).options(num_cpus=0, runtime_env=path)

    def create(generation: int) -> ActorHandle:
        return actor.remote(inputs.authors)

    replicas = [ActorReplica(create) for _ in range(2)]
    return RolloutPool(inputs.config, ReplicaSet(replicas, inputs.config.guard, budget))


def alive(titles: Sequence[str]) -> list[psutil.Process]:
    """Return the descendants of this process whose command contains one of `titles`."""
    return [p for p in descendants(psutil.Process()) if any(title in command(p) for title in titles)]


def test_run_with_one_killed_process_of_each_kind_equals_undisturbed_run(whole_run: Path, lockstep_settings: Config) -> None:
    disturbed = whole_run.with_name("disturbed")
    kills = plan(SEED, list(VICTIMS), first=1, last=3, longest_s=LONGEST_DELAY_S)
    with Monkey(os.getpid(), disturbed / "metrics.jsonl", kills, VICTIMS) as monkey:
        run(replace(lockstep_settings, name=disturbed.name), start_two)
    assert {killed.victim for killed in monkey.killed} == set(VICTIMS)
    assert rows(disturbed) == rows(whole_run)
    assert samples(disturbed) == samples(whole_run)
    assert weights(disturbed, 4) == weights(whole_run, 4)
    _, left = psutil.wait_procs(alive(["LockstepActor", "ray::Rank", "RewardActor", "verify.worker"]), timeout=60)
    assert not left
    assert not abandoned_files()
