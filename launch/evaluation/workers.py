"""Engines and a judge without a run, for evaluations, pass rates and a server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import NamedTuple

from actors.reward import Judge
from actors.rollout_pool import RolloutPool
from launch.cluster.local_cluster import ray_cluster
from launch.cluster.reservation import reserve_placements
from launch.run.startup import describe_components
from launch.status import ENGINES, status, usual_start
from tandem.authors import Authors
from tandem.config.schema import Config
from tandem.plan.run_plan import RunPlan
from tandem.runtime.restarts import RestartBudget


class Workers(NamedTuple):
    """The actors that write and judge texts."""

    pool: RolloutPool
    judge: Judge


WorkerStarter = Callable[[Config, Authors, RunPlan, Path, Callable[[str], None]], AbstractContextManager[Workers]]
"""Starts or borrows the workers of an evaluation, as `start_workers` does."""


@contextmanager
def placed_engines(
    config: Config, authors: Authors, plan: RunPlan, budget: RestartBudget, *, streams: bool = False
) -> Iterator[RolloutPool]:
    """Start engines on the nodes of `plan`, without waiting for them; end them after the block. They receive no weights."""
    with (
        reserve_placements(plan, authors, config.mode.cpu_cores, shares_memory=False) as placements,
        RolloutPool.of_engines(
            config,
            authors,
            budget,
            gpus_per_replica=plan.gpus_per_replica,
            cores=placements.engine_cores,
            placements=placements.replicas,
            streams=streams,
            wait=False,
        ) as pool,
    ):
        yield pool


@contextmanager
def start_workers(
    config: Config, authors: Authors, plan: RunPlan, logs: Path, print_line: Callable[[str], None]
) -> Iterator[Workers]:
    """Start engines and judge in a Ray cluster, and end them after the block; after an error their logs are kept in `logs`."""
    restarts = RestartBudget.of(config.guard, print_line)
    with (
        ray_cluster(logs=logs),
        placed_engines(config, authors, plan, restarts) as pool,
        closing(Judge(config, restarts)) as judge,
    ):
        usual = usual_start(ENGINES, on_gpus=plan.on_gpus)
        with status(f"Starting {describe_components(config, learner=False)}", usual):
            pool.await_started()
        yield Workers(pool, judge)
