"""Scaling of one driver over many replicas: the real pool on Ray, with replicas that simulate their engines; and the driver's
part of one step (`bench.driver`).

    python -m bench.scale --json

docs/cogeneration.md explains the figures.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import ray
from ray.actor import ActorHandle
from rich.console import Console
from rich.table import Table

from actors.dispatch import TaskQueue
from actors.group_task import GroupTask
from actors.replicas import ReplicaSet
from actors.rollout_pool import MAX_CONCURRENT_CALLS, RolloutPool
from bench import driver
from bench.report import Figures, benchmark_parser, print_figures
from launch.cluster.environment import set_environment
from launch.cluster.local_cluster import ray_cluster
from launch.text_tables import terminal_table
from tandem.config.rollout import SamplingConfig
from tandem.config.run import GuardConfig
from tandem.config.schema import Config
from tandem.rollout import BASE_VERSION, SENIOR, EndReason, Group, Problem, Prompt, Rollout
from tandem.runtime.processes import ProcessLocation
from tandem.runtime.restarts import RestartBudget
from tandem.schedule import Schedule

REPLICAS = (1, 2, 4, 8, 16, 32, 64)
PROCESSES = 2
"""Processes that simulate the replicas, so that two cores are enough."""
ROLLOUTS = 256
"""of each replica"""
GROUP_SIZE = 8
IN_FLIGHT = 64
"""rollouts that a replica generates at the same time"""
TOKENS = 3_000
"""of every rollout"""
STEP_S = 0.003
"""The time of one decode step. An H200 takes 1.7 ms to read the weights of a model of 4B parameters."""
SHORTEST = 0.5
"""A rollout takes SHORTEST x TOKENS to TOKENS steps, in the same mixture for every number of replicas."""
PROMPT_TOKENS = 100


class SimulatedReplicas:
    """Several rollout actors in one process, without engines: one timer per rollout, and payloads of the real size."""

    def __init__(self) -> None:
        self._admission: dict[int, asyncio.Semaphore] = {}
        self._token_ids = np.arange(TOKENS, dtype=np.int32)
        self._authorship = np.full(TOKENS, SENIOR, np.int8)
        self._logprobs = np.full(TOKENS, -1.0, np.float32)
        self._versions = np.full(TOKENS, BASE_VERSION, np.int32)

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
            self._write(replica, task, rollout_id, seed, TOKENS * STEP_S * draws.uniform(SHORTEST, 1))
            for rollout_id, seed in zip(task.rollout_ids, task.seeds, strict=True)
        )
        return Group(task.prompt, await asyncio.gather(*written), task.schedule)

    async def _write(self, replica: int, task: GroupTask, rollout_id: str, seed: int, seconds: float) -> Rollout:
        async with self._admission[replica]:
            await asyncio.sleep(seconds)
        return Rollout(
            id=rollout_id,
            prompt_ids=np.array(task.prompt.token_ids, np.int32),
            # Copies: pickle sends an array that occurs twice only once.
            token_ids=self._token_ids.copy(),
            authorship=self._authorship.copy(),
            logprobs=self._logprobs.copy(),
            weight_versions=self._versions.copy(),
            end=EndReason.BUDGET,
            seed=seed,
        )

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


@dataclass(frozen=True)
class ScalingPoint:
    """One batch of rollouts written by `replicas` replicas."""

    replicas: int
    rollouts: int
    seconds: float
    driver_cpu_s: float
    """CPU time of this process"""

    @property
    def rollouts_per_s(self) -> float:
        """Return the rollouts per second of all replicas together."""
        return self.rollouts / self.seconds

    @property
    def driver_cpu_ms_per_rollout(self) -> float:
        """Return the driver's CPU time per rollout, in milliseconds."""
        return 1e3 * self.driver_cpu_s / self.rollouts


@contextmanager
def simulating_processes() -> Iterator[list[ActorHandle]]:
    """Start the processes that simulate replicas, on a private cluster."""
    set_environment(Path(Config().cache_dir).expanduser())
    with ray_cluster(logs=Path(tempfile.gettempdir()) / "bench-scale-logs"):
        actor: Any = ray.remote(SimulatedReplicas).options(num_cpus=0, max_concurrency=MAX_CONCURRENT_CALLS)
        yield [actor.remote() for _ in range(PROCESSES)]


def measure(processes: list[ActorHandle], replicas: int, rollouts: int = ROLLOUTS) -> ScalingPoint:
    """Write `rollouts` rollouts on each of `replicas` replicas, and drop the groups as they arrive."""
    groups = rollouts // GROUP_SIZE
    prompts = [Prompt(Problem(str(i % groups), "?", "!"), tuple(range(PROMPT_TOKENS))) for i in range(replicas * groups)]
    replica_set = ReplicaSet(
        [SimulatedReplica(processes[i % len(processes)], i) for i in range(replicas)], GuardConfig(), RestartBudget(0)
    )
    with RolloutPool(Config(), replica_set) as pool:
        tasks = [
            pool.task(prompt, GROUP_SIZE, Schedule(), SamplingConfig(max_tokens=TOKENS), f"scale/{index}")
            for index, prompt in enumerate(prompts)
        ]
        start, before, written = time.perf_counter(), time.process_time(), 0
        for _, group in pool.write(TaskQueue(tasks)):
            written += len(group.rollouts)
        return ScalingPoint(replicas, written, time.perf_counter() - start, time.process_time() - before)


def figures(runs: list[ScalingPoint]) -> Figures:
    """Return the throughput at every size, the efficiency of the largest, and its driver CPU time per rollout."""
    least, most = runs[0], runs[-1]
    efficiency = most.rollouts_per_s / least.rollouts_per_s * least.replicas / most.replicas
    return {
        f"efficiency_at_{most.replicas}": round(efficiency, 3),
        **{f"throughput_at_{run.replicas}": round(run.rollouts_per_s, 2) for run in runs},
        "driver_cpu_ms_per_rollout": round(most.driver_cpu_ms_per_rollout, 3),
    }


def table(runs: list[ScalingPoint]) -> Table:
    """Return a table of each size's throughput and driver CPU time."""
    rows = (
        [
            str(run.replicas),
            f"{run.rollouts:,}",
            f"{run.seconds:.1f}",
            f"{run.rollouts_per_s:.1f}",
            f"{run.rollouts_per_s / run.replicas:.2f}",
            f"{run.driver_cpu_ms_per_rollout:.2f}",
        ]
        for run in runs
    )
    header = ("replicas", "rollouts", "seconds", "rollouts/s", "per replica", "driver CPU, ms per rollout")
    return terminal_table(header, rows, title=f"{ROLLOUTS} rollouts per replica, {TOKENS:,} tokens each", left=0)


def main() -> None:
    """Measure every size and print the figures."""
    parser = benchmark_parser("scale", __doc__)
    options = parser.parse_args()
    console = Console()
    with simulating_processes() as processes:
        measure(processes, replicas=len(processes), rollouts=GROUP_SIZE)  # a warm-up: the first group triggers imports
        runs = [measure(processes, replicas) for replicas in REPLICAS]
    console.print(table(runs))
    costs = driver.measured()
    console.print(driver.cost_table(costs))
    print_figures(figures(runs) | driver.figures(costs), console, as_json=options.json)


if __name__ == "__main__":
    main()
