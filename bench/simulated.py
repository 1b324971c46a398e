"""Replicas and ranks without engines and models, for benchmarks of the driver: the real pool on Ray, few processes."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np
import ray
from ray.actor import ActorHandle

from actors.group_task import GroupTask
from actors.replicas import ReplicaSet
from launch.cluster.environment import set_environment
from launch.cluster.local_cluster import ray_cluster
from tandem.config.run import GuardConfig
from tandem.config.schema import Config
from tandem.replay import draws_of, replay
from tandem.rollout import BASE_VERSION, FROZEN_VERSION, SENIOR, EndReason, Group, Rollout
from tandem.runtime.processes import ProcessLocation
from tandem.runtime.restarts import RestartBudget

if TYPE_CHECKING:
    from actors.rollout_pool import RolloutPool
    from tandem.batching import RankPlan

PROCESSES = 2
"""Processes that simulate the replicas, and the ranks, so that two cores are enough."""
IN_FLIGHT = 64
"""rollouts that a replica generates at the same time"""
SHORTEST = 0.5
"""The time of a rollout, as a share of the longest, is uniform from SHORTEST to 1, the same for every number of replicas."""
VOCABULARY, WORD_SHARE = 151_936, 0.35
"""The vocabulary of Qwen3, and the share of it that begins a word."""
WORD = "so, "
"""The text of one token."""

Write = Callable[[GroupTask, int], Rollout]
"""Return the rollout of a task at an index."""


def longest_rollout(task: GroupTask, index: int) -> Rollout:
    """Return a rollout of `task.sampling.max_tokens` equal tokens."""
    # Arrays of their own: pickle sends an array that occurs twice only once.
    tokens = task.sampling.max_tokens
    return Rollout(
        id=task.rollout_ids[index],
        prompt_ids=np.array(task.prompt.token_ids, np.int32),
        token_ids=np.arange(tokens, dtype=np.int32),
        authorship=np.full(tokens, SENIOR, np.int8),
        logprobs=np.full(tokens, -1.0, np.float32),
        weight_versions=np.full(tokens, BASE_VERSION, np.int32),
        end=EndReason.BUDGET,
        seed=task.seeds[index],
    )


@cache
def boundaries() -> np.ndarray:
    """Return a random boundary table of words."""
    return (np.random.default_rng(0).random(VOCABULARY) < WORD_SHARE).astype(np.uint8)


def random_rollout(task: GroupTask, index: int) -> Rollout:
    """Return a rollout as an actor returns it: random tokens, with the mask that the schedule gives, right half of the time."""
    seed, longest = task.seeds[index], task.sampling.max_tokens
    rng = np.random.default_rng(seed)
    length = int(rng.integers(longest // 4, longest, endpoint=True))
    token_ids = rng.integers(0, VOCABULARY, length).astype(np.int32)
    authorship = replay(task.schedule, boundaries(), seed, token_ids).authorship
    rollout = Rollout(
        id=task.rollout_ids[index],
        prompt_ids=np.array(task.prompt.token_ids, np.int32),
        token_ids=token_ids,
        authorship=authorship,
        logprobs=np.full(length, -1.0, np.float32),
        weight_versions=np.where(authorship, 0, FROZEN_VERSION).astype(np.int32),
        end=EndReason.EOS,
        seed=seed,
        text=WORD * length + rf"\boxed{{{int(rng.random() < 0.5)}}}",
    )
    rollout.draws = draws_of(rollout, task.schedule, boundaries())
    return rollout


class SimulatedReplicas:
    """Several rollout actors in one process, without engines: one timer per rollout, and payloads of the real size.

    `write` makes the rollouts. The longest takes `longest_s` seconds.
    """

    def __init__(self, write: Write, longest_s: float) -> None:
        self._rollout, self._longest_s = write, longest_s
        self._admission: dict[int, asyncio.Semaphore] = {}

    async def call(self, replica: int, method: str, *arguments: Any) -> Any:
        """Return the result of `method` of `replica`."""
        return await getattr(self, method)(replica, *arguments)

    async def start(self, replica: int) -> int:
        """Simulate `RolloutActor.start`."""
        self._admission[replica] = asyncio.Semaphore(IN_FLIGHT)
        return IN_FLIGHT

    async def write_group(self, replica: int, task: GroupTask) -> Group:
        """Simulate `RolloutActor.write_group`."""
        draws = Random(task.prompt.problem.id)
        written = (
            self._write(replica, task, index, self._longest_s * draws.uniform(SHORTEST, 1))
            for index in range(len(task.rollout_ids))
        )
        return Group(task.prompt, await asyncio.gather(*written), task.schedule)

    async def _write(self, replica: int, task: GroupTask, index: int, seconds: float) -> Rollout:
        async with self._admission[replica]:
            await asyncio.sleep(seconds)
        return self._rollout(task, index)

    async def processes(self, replica: int) -> dict[str, ProcessLocation]:
        """Return no processes: the replica has none."""
        return {}

    async def close(self, replica: int) -> None:
        """Simulate `RolloutActor.close`."""


class SimulatedReplica:
    """One of the replicas that a process simulates (see `actors.replica.Replica`)."""

    def __init__(self, process: ActorHandle, index: int) -> None:
        self._process, self._index = process, index

    def call(self, method: str, *arguments: Any) -> ray.ObjectRef:
        """Call `method` of this replica in its process."""
        return self._process.call.remote(self._index, method, *arguments)

    def kill(self) -> None:
        """Do nothing: other replicas use the process."""

    def recreate(self) -> None:
        """Do nothing: the process stays."""


class SimulatedRanks:
    """Several ranks of the learner in one process, without a model."""

    def update(self, plan: RankPlan, step: int) -> int:
        """Simulate `Rank.update`; return the tokens of the plan's completions."""
        return sum(len(sample.senior) for mini_batch in plan for micro_batch in mini_batch for sample in micro_batch)


@contextmanager
def simulating_cluster() -> Iterator[None]:
    """Start a private cluster, or use that of the outer block."""
    set_environment(Path(Config().cache_dir).expanduser())
    with ray_cluster(logs=Path(tempfile.gettempdir()) / "bench-scale-logs"):
        yield


def replica_processes(write: Write, longest_s: float) -> list[ActorHandle]:
    """Start the processes that simulate replicas (see `SimulatedReplicas`)."""
    from actors.rollout_pool import MAX_CONCURRENT_CALLS  # here, for it imports torch, which the processes do without

    actor: Any = ray.remote(SimulatedReplicas).options(num_cpus=0, max_concurrency=MAX_CONCURRENT_CALLS)
    return [actor.remote(write, longest_s) for _ in range(PROCESSES)]


def rank_processes() -> list[ActorHandle]:
    """Start the processes that simulate ranks."""
    actor: Any = ray.remote(SimulatedRanks).options(num_cpus=0)
    return [actor.remote() for _ in range(PROCESSES)]


def simulated_pool(config: Config, processes: Sequence[ActorHandle], replicas: int) -> RolloutPool:
    """Return a pool of `replicas` replicas that `processes` simulate."""
    from actors.rollout_pool import RolloutPool  # here, as above

    simulated = [SimulatedReplica(processes[i % len(processes)], i) for i in range(replicas)]
    return RolloutPool(config, ReplicaSet(simulated, GuardConfig(), RestartBudget(0)))
