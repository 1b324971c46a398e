"""Engines that an experiment starts once and shares between its runs."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import replace
from types import TracebackType
from typing import Self

from actors.engine_spec import EngineSpec
from actors.placement import engine_specs
from actors.rollout_pool import RolloutPool
from launch.cluster.placements import Placements
from launch.run.inputs import Inputs
from launch.run.startup import start_engines
from launch.run.training_run import TrainingRun
from tandem import guards
from tandem.rollout import BASE_VERSION
from tandem.runtime.restarts import RestartBudget


class SharedEngines:
    """The engines of the last run, which the next run borrows if it needs the same ones; a context manager that stops them.

    Runs on GPUs or over a cluster start new engines, since placement and the connection to the learner belong to one run.
    """

    def __init__(self) -> None:
        self._pool: RolloutPool | None = None
        self._specs: list[list[EngineSpec]] = []

    def lend(
        self, inputs: Inputs, resumed_step: int, budget: RestartBudget, placements: Placements
    ) -> AbstractContextManager[RolloutPool]:
        """Return engines for a run, like `launch.run.startup.start_engines`. They hold the weights of the last weight sync."""
        if inputs.plan.mode == "cluster" or inputs.plan.on_gpus:
            return start_engines(inputs, resumed_step, budget, placements)
        specs = [[replace(spec, seed=0) for spec in replica] for replica in engine_specs(inputs.config, inputs.authors, "cpu")]
        if self._pool is None or specs != self._specs:
            self._close()
            self._pool, self._specs = start_engines(inputs, resumed_step, budget, placements), specs
        return self._pool.borrow(inputs.config, inputs.authors)

    def _close(self) -> None:
        if self._pool is not None:
            self._pool.close()
            self._pool = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._close()


def publish_base(run: TrainingRun) -> None:
    """Send the base weights to borrowed engines; a resumed run has already sent its own."""
    if run.resumed_step == BASE_VERSION:
        pool = run.rollout_run.pool
        pool.begin_weight_sync()
        reported = pool.finish_weight_sync(run.learner.publish(version=BASE_VERSION))
        guards.check_published(BASE_VERSION, reported)
