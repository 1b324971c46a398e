"""Engines that an experiment starts once and shares between its runs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

import torch

from actors.engine_layout import engine_specs
from actors.engine_spec import EngineSpec
from actors.reward import Judge
from actors.rollout_pool import RolloutPool
from launch.cluster.locks import SEGMENT, claimed_file
from launch.cluster.reservation import Placements
from launch.evaluation.workers import Workers, start_workers
from launch.run.inputs import Inputs
from launch.run.startup import start_engines
from tandem import guards
from tandem.authors import Authors, load_authors
from tandem.config.schema import Config
from tandem.models.loading import load_language_model
from tandem.plan.run_plan import RunPlan
from tandem.rollout import BASE_VERSION
from tandem.runtime.restarts import RestartBudget
from tandem.runtime.segment import segment_folder
from tandem.runtime.weights import PublishedWeights


class SharedEngines:
    """The engines of the last run or evaluation, which the next one borrows if it needs the same; a context manager that stops
    them.

    Runs and evaluations on GPUs or over a cluster start new engines, since placement and the connection to the learner belong
    to one run; so do runs whose engines receive an adapter.
    """

    def __init__(self) -> None:
        self._pool: RolloutPool | None = None
        self._specs: list[list[EngineSpec]] = []

    def borrow_engines(
        self, inputs: Inputs, resumed_step: int, budget: RestartBudget, placements: Placements
    ) -> AbstractContextManager[RolloutPool]:
        """Return engines for a run, like `launch.run.startup.start_engines`. They hold the weights of the last weight sync."""
        sent_alone = inputs.config.learner.lora.sent_alone  # these engines load no whole weights of others
        if sent_alone or not inputs.plan.shares_cores:
            return start_engines(inputs, resumed_step, budget, placements)
        start = partial(start_engines, inputs, resumed_step, budget, placements)
        return self._borrow(inputs.config, inputs.authors, start, resumed_step)

    @contextmanager
    def borrow_workers(
        self, config: Config, authors: Authors, plan: RunPlan, logs: Path, print_line: Callable[[str], None]
    ) -> Iterator[Workers]:
        """Yield the workers of an evaluation, as `launch.evaluation.workers.start_workers` in a running Ray cluster.

        Borrowed engines of the base model load the weights of the senior.
        """
        if not plan.shares_cores:
            with start_workers(config, authors, plan, logs, print_line) as workers:
                yield workers
            return
        budget = RestartBudget.of(config.guard, print_line)
        with closing(Judge(config, budget)) as judge:
            base = load_authors(config)
            with (
                self._borrow(config, base, lambda: RolloutPool.of_engines(config, base, budget)) as pool,
                _published(authors.senior, config) as weights,
            ):
                pool.begin_weight_sync()
                guards.check_published(BASE_VERSION, pool.finish_weight_sync(weights))
                yield Workers(pool, judge)

    def _borrow(
        self, config: Config, authors: Authors, start: Callable[[], RolloutPool], first_version: int = BASE_VERSION
    ) -> AbstractContextManager[RolloutPool]:
        """Lend the running engines if `config` and `authors` need the same; else replace them by those of `start`."""
        specs = engine_specs(config, authors, "cpu", first_version=first_version)
        if self._pool is None or _seedless(specs) != _seedless(self._specs):
            self._close()
            self._pool, self._specs = start(), specs
        else:
            self._pool.reseed(specs[0][0].seed - self._specs[0][0].seed)
        return self._pool.borrow(config, authors)

    def _close(self) -> None:
        if self._pool is not None:
            self._pool.close()
            self._pool = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._close()


def _seedless(specs: list[list[EngineSpec]]) -> list[list[EngineSpec]]:
    return [[replace(spec, seed=0) for spec in replica] for replica in specs]


@contextmanager
def _published(model: Path, config: Config) -> Iterator[PublishedWeights]:
    """Publish the weights of the model at `model` in shared memory for the block."""
    # Imported here: DeepSpeed takes seconds to import, and reads DS_ACCELERATOR.
    os.environ.setdefault("DS_ACCELERATOR", "cpu")
    from learner.publish import Publisher

    with claimed_file(segment_folder(), SEGMENT) as segment:
        weights = load_language_model(model, getattr(torch, config.learner.dtype))
        publisher = Publisher(weights, segment, bucket_bytes=config.learner.publish_bucket_mib << 20)
        published = publisher.publish(BASE_VERSION)
        assert published is not None
        yield published
