"""Measure the cost of a whole training step for the driver: real pool, judge and plan on Ray, simulated replicas and ranks.

    python -m bench.driver --json

docs/cluster.md explains the figures.
"""

from __future__ import annotations

import pickle
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
import ray
from ray.actor import ActorHandle
from rich.console import Console
from rich.table import Table

from actors.reward import Judge
from actors.rollout_pool import RolloutPool
from bench.report import Figures, benchmark_parser, print_figures
from bench.simulated import (
    VOCABULARY,
    boundaries,
    random_rollout,
    rank_processes,
    replica_processes,
    simulated_pool,
    simulating_cluster,
)
from launch.text_tables import terminal_table
from tandem import guards
from tandem.advantage import assign_advantages
from tandem.batching import RankPlan, plan_step
from tandem.config.schema import Config
from tandem.metrics import rollout_metrics
from tandem.records.saved_rollouts import Origin, save_step
from tandem.rewards import assign_rewards
from tandem.rollout import Group, Problem, Prompt
from tandem.runtime.processes import peak_host_bytes
from tandem.runtime.restarts import RestartBudget
from tandem.runtime.units import GIB
from tandem.schedule import Schedule

ROLLOUTS, GROUP_SIZE = 1_024, 16
TOKENS = (3_000, 32_000)
"""Longest rollouts that are measured; the shortest have a quarter."""
REPLICAS, RANKS = 64, 64
WRITING_S = 2.0
"""The time of the longest rollout, much shorter than in a run: only the driver is measured."""
PROMPT_TOKENS = 200
PICKLE = 5
"""The protocol with which Ray sends arrays without copying them into the message."""


@dataclass(frozen=True)
class DriverCost:
    """The cost of one step for the driver."""

    tokens: int
    """of all rollouts"""
    cpu_s: dict[str, float]
    """CPU seconds of this process by part of the step"""
    wall_s: dict[str, float]
    """seconds by part of the step"""
    received: int
    """bytes of the groups that the replicas sent"""
    judged: int
    """bytes of the texts sent to the judge"""
    sent: int
    """bytes of the ranks' plans"""
    peak_gib: float
    """memory that the step added at its peak, with what it reads and writes in Ray's object store"""
    store_gib: float
    """the part of it in the object store"""

    @property
    def total_s(self) -> float:
        """Return the CPU seconds of a step that does not save its rollouts, as by default."""
        return sum(self.cpu_s.values()) - self.cpu_s["save"]

    @property
    def after_writing_s(self) -> float:
        """Return the seconds from the last group until the ranks have their plans."""
        return sum(seconds for part, seconds in self.wall_s.items() if part != "write")


def size(thing: object) -> int:
    """Return the bytes of `thing` as Ray sends it."""
    arrays: list[pickle.PickleBuffer] = []
    return len(pickle.dumps(thing, PICKLE, buffer_callback=arrays.append)) + sum(array.raw().nbytes for array in arrays)


class StepClock:
    """Adds up CPU time of this process and real time by part of a step."""

    def __init__(self) -> None:
        self.cpu_s: dict[str, float] = {}
        self.wall_s: dict[str, float] = {}
        self._last = time.process_time(), time.perf_counter()

    def __call__(self, part: str) -> None:
        """Set the times of `part`, which ends now."""
        now = time.process_time(), time.perf_counter()
        self.cpu_s[part], self.wall_s[part] = (new - old for new, old in zip(now, self._last, strict=True))
        self._last = now


def step_config(max_tokens: int) -> Config:
    """Return the configuration of a step of rollouts of at most `max_tokens` tokens."""
    config = Config()
    config.rollout.sampling.max_tokens, config.learner.micro_batch_tokens = max_tokens, 2 * max_tokens
    return config


def generate(pool: RolloutPool, judge: Judge, config: Config, rollouts: int, clock: StepClock) -> list[Group]:
    """Write and judge the step's groups, as `launch.run.loop.collect_groups`."""
    prompts = [Prompt(Problem(str(i), "?", "1"), tuple(range(PROMPT_TOKENS))) for i in range(rollouts // GROUP_SIZE)]
    groups = pool.generate(prompts, GROUP_SIZE, Schedule(), config.rollout.sampling, "step", on_group=judge.begin)
    clock("write")
    judge.judge_groups(groups, config.judge.step_timeout_s)
    clock("judge")
    return groups


def plan(groups: Sequence[Group], config: Config, ranks: int, folder: Path, clock: StepClock) -> list[RankPlan]:
    """Check the groups, save them in `folder` and plan the update, as `launch.run.loop` and `LearnerGroup.update`."""
    assign_rewards(groups, config.reward, config.rollout.sampling.max_tokens)
    guards.check_authorship(groups, boundaries())
    guards.check_finite_logprobs(groups)
    guards.check_weight_version(groups, 0)
    guards.check_verdicts(groups)
    clock("check")
    assign_advantages(groups, config.algo.advantage)
    rollout_metrics(groups)
    clock("metrics")
    save_step(folder, 1, groups, Origin("", "", VOCABULARY, 1.0))
    clock("save")
    plans = plan_step(groups, 1, config, ranks)
    clock("plan")
    return plans


def measure(rollouts: int, max_tokens: int, replicas: int, ranks: int) -> DriverCost:
    """Measure one step on a cluster, after a short one that triggers imports."""
    processes, hosts = replica_processes(random_rollout, WRITING_S), rank_processes()
    judge = Judge(Config(), RestartBudget(0))
    with closing(judge), simulated_pool(step_config(max_tokens), processes, replicas) as pool, TemporaryDirectory() as folder:
        _step(pool, judge, step_config(100), GROUP_SIZE, ranks, hosts, Path(folder) / "warm-up")
        return _step(pool, judge, step_config(max_tokens), rollouts, ranks, hosts, Path(folder) / "step")


def _step(
    pool: RolloutPool,
    judge: Judge,
    config: Config,
    rollouts: int,
    ranks: int,
    hosts: Sequence[ActorHandle],
    folder: Path,
) -> DriverCost:
    memory, peak, clock = psutil.Process().memory_info(), peak_host_bytes(), StepClock()
    groups = generate(pool, judge, config, rollouts, clock)
    plans = plan(groups, config, ranks, folder, clock)
    tokens = sum(ray.get([hosts[rank % len(hosts)].update.remote(part, 1) for rank, part in enumerate(plans)]))
    clock("send")
    peak, stored = peak_host_bytes() - peak, psutil.Process().memory_info().shared - memory.shared
    texts = sum(len(response) for group in groups for response in group.responses)
    return DriverCost(tokens, clock.cpu_s, clock.wall_s, size(groups), texts, size(plans), peak / GIB, stored / GIB)


def figures(costs: dict[int, DriverCost]) -> Figures:
    """Return the driver's cost by longest rollout; `driver_s_per_step` is that of the longest.

    `save_s_...`, the time of saving all rollouts, is not part of a step by default.
    """
    results: Figures = {
        "rollouts": ROLLOUTS,
        "replicas": REPLICAS,
        "ranks": RANKS,
        "driver_s_per_step": round(costs[max(costs)].total_s, 2),
    }
    for max_tokens, cost in costs.items():
        name = f"{max_tokens // 1000}k"
        results |= {
            f"driver_s_per_step_{name}": round(cost.total_s, 2),
            f"after_writing_s_{name}": round(cost.after_writing_s, 2),
            f"received_mb_{name}": round(cost.received / 1e6),
            f"judged_mb_{name}": round(cost.judged / 1e6),
            f"sent_mb_{name}": round(cost.sent / 1e6),
            f"driver_peak_gib_{name}": round(cost.peak_gib, 2),
            f"object_store_gib_{name}": round(cost.store_gib, 2),
            **{f"{part}_s_{name}": round(seconds, 2) for part, seconds in cost.cpu_s.items()},
        }
    return results


def _serve(max_tokens: int, pipe: Connection) -> None:
    with simulating_cluster():
        pipe.send(measure(ROLLOUTS, max_tokens, REPLICAS, RANKS))


def measured() -> dict[int, DriverCost]:
    """Measure each length in a separate process, because a process reports only its peak memory since its start."""
    costs, context = {}, get_context("spawn")
    for max_tokens in TOKENS:
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(max_tokens, theirs))
        process.start()
        theirs.close()  # so that a process that fails ends the wait
        costs[max_tokens] = ours.recv()
        process.join()
    return costs


def cost_table(costs: dict[int, DriverCost]) -> Table:
    """Return a table of the CPU seconds by part of the step."""
    rows = (
        [f"{max_tokens:,}", f"{cost.tokens:,}", *(f"{seconds:.2f}" for seconds in cost.cpu_s.values()), f"{cost.total_s:.2f}"]
        for max_tokens, cost in costs.items()
    )
    header = ("longest", "tokens", *costs[TOKENS[0]].cpu_s, "all but save")
    return terminal_table(header, rows, title=f"The driver: {ROLLOUTS:,} rollouts, {REPLICAS} replicas, {RANKS} ranks", left=0)


def main() -> None:
    """Measure and print the figures."""
    options, console = benchmark_parser("driver", __doc__).parse_args(), Console()
    costs = measured()
    console.print(cost_table(costs))
    print_figures(figures(costs), console, as_json=options.json)


if __name__ == "__main__":
    main()
