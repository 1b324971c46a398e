"""Scaling of one driver over many replicas: the real pool on Ray, with replicas that simulate their engines; and the cost of
a whole step for the driver (`bench.driver`).

    python -m bench.scale --json

docs/cogeneration.md explains the figures.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from ray.actor import ActorHandle
from rich.console import Console
from rich.table import Table

from actors.dispatch import TaskQueue
from bench import driver
from bench.report import Figures, benchmark_parser, print_figures
from bench.simulated import PROCESSES, longest_rollout, replica_processes, simulated_pool, simulating_cluster
from launch.text_tables import terminal_table
from tandem.config.rollout import SamplingConfig
from tandem.config.schema import Config
from tandem.rollout import Problem, Prompt
from tandem.schedule import Schedule

REPLICAS = (1, 4, 16, 64)
ROLLOUTS = 256
"""of each replica"""
GROUP_SIZE = 8
TOKENS = 3_000
"""of every rollout"""
STEP_S = 0.003
"""The time of one decode step. An H200 takes 1.7 ms to read the weights of a model of 4B parameters."""
PROMPT_TOKENS = 100


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


def measure(processes: Sequence[ActorHandle], replicas: int, rollouts: int = ROLLOUTS) -> ScalingPoint:
    """Write `rollouts` rollouts on each of `replicas` replicas, and drop the groups as they arrive."""
    groups = rollouts // GROUP_SIZE
    prompts = [Prompt(Problem(str(i % groups), "?", "!"), tuple(range(PROMPT_TOKENS))) for i in range(replicas * groups)]
    with simulated_pool(Config(), processes, replicas) as pool:
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
    with simulating_cluster():
        processes = replica_processes(longest_rollout, TOKENS * STEP_S)
        measure(processes, replicas=PROCESSES, rollouts=GROUP_SIZE)  # a warm-up: the first group triggers imports
        runs = [measure(processes, replicas) for replicas in REPLICAS]
    console.print(table(runs))
    costs = driver.measured()
    console.print(driver.cost_table(costs))
    print_figures(figures(runs) | driver.figures(costs), console, as_json=options.json)


if __name__ == "__main__":
    main()
