"""Engines and a judge without a run, for evaluations and pass rates."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import NamedTuple

from actors.reward import Judge
from actors.rollout_pool import RolloutPool
from launch.cluster.local_cluster import ray_cluster
from launch.run.startup import described
from launch.status import ENGINES_S, status
from tandem.authors import Authors
from tandem.config.schema import Config
from tandem.runtime.restarts import RestartBudget


class Workers(NamedTuple):
    """The actors that write and judge texts."""

    pool: RolloutPool
    judge: Judge


WorkerStarter = Callable[[Config, Authors, float, Path, Callable[[str], None]], AbstractContextManager[Workers]]
"""Starts or borrows the workers of an evaluation, as `start_workers` does."""


@contextmanager
def start_workers(
    config: Config, authors: Authors, gpus_per_replica: float, logs: Path, print_line: Callable[[str], None]
) -> Iterator[Workers]:
    """Start engines and judge in a Ray cluster, and end them after the block; after an error their logs are kept in `logs`."""
    restarts = RestartBudget(config.guard.max_restarts_per_hour, print_line)
    with (
        ray_cluster(logs=logs),
        RolloutPool.of_engines(config, authors, gpus_per_replica=gpus_per_replica, budget=restarts, wait=False) as pool,
        closing(Judge(config.judge, restarts, config.data.verifier)) as judge,
    ):
        with status(f"Starting {described(config, learner=False)}", "" if gpus_per_replica else ENGINES_S):
            pool.await_started()
        yield Workers(pool, judge)
