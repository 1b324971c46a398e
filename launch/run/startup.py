"""Start the components of a run, and end them: learner, engines, judge, terminal, watchdog."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import psutil

from actors.group_source import group_source
from actors.reward import Judge
from actors.rollout_pool import RolloutPool
from launch.cluster.locks import SEGMENT, claimed_file
from launch.cluster.plan import print_plan
from launch.cluster.reservation import Placements, reserve_placements
from launch.run.canary import Canary
from launch.run.checkpointing import Checkpointer
from launch.run.console import TrainingConsole
from launch.run.inputs import Inputs
from launch.run.termination import TerminationHandler
from launch.run.training_run import RolloutRun, TrainingRun
from launch.run.watchdog import Watchdog
from launch.status import ENGINES, status, usual_start
from launch.storage.checkpoints import DriverState
from learner.group import LearnerGroup
from learner.resilient_learner import ResilientLearner, updates_kept
from tandem import guards
from tandem.authors import Authors
from tandem.config.schema import Config
from tandem.plan.run_plan import RunPlan
from tandem.plan.sizes import adapted_kinds
from tandem.rollout import BASE_VERSION, JUNIOR
from tandem.runtime.restarts import RestartBudget
from tandem.runtime.segment import segment_folder
from tandem.runtime.weights import SHM
from tandem.staleness import START

EngineStarter = Callable[[Inputs, int, RestartBudget, Placements], AbstractContextManager[RolloutPool]]
"""Starts the engines of a run that resumes after a step (0: from the base), on their placements."""
BASE_STATE = DriverState(BASE_VERSION, START)
"""The state of a run that resumes from no checkpoint."""


class SharedResources(NamedTuple):
    """What all components of a run share."""

    console: TrainingConsole
    placements: Placements
    restarts: RestartBudget


@contextmanager
def reserve_resources(inputs: Inputs) -> Iterator[SharedResources]:
    """Print what the run begins with, and reserve the placements of its components."""
    plan, console = inputs.plan, TrainingConsole(inputs.config.steps)
    if not plan.shares_cores:
        print_plan(plan, console.console)
    cores, shares_memory = inputs.config.mode.cpu_cores, inputs.transport == SHM
    folder = inputs.folder.path
    with reserve_placements(plan, inputs.authors, cores, shares_memory=shares_memory, run_folder=folder) as placements:
        console.print(f"run folder {folder}; senior {inputs.authors.senior}; {inputs.problems.left_out}")
        for warning in inputs.warnings:
            console.print(warning)
        restarts = RestartBudget.of(inputs.config.guard, console.print)
        yield SharedResources(console, placements, restarts)


def describe_components(config: Config, *, learner: bool = True, engines: bool = True) -> str:
    """Return what a run starts, such as `1 rollout actor and 1 learner rank`."""
    replicas, ranks = config.rollout.replicas, config.learner.ranks
    parts = [f"{replicas} rollout actor{'s' * (replicas > 1)}"] if engines else []
    parts += [f"{ranks} learner rank{'s' * (ranks > 1)} (ZeRO-{config.learner.zero_stage})"] if learner else []
    return " and ".join(parts)


def start_engines(inputs: Inputs, resumed_step: int, restarts: RestartBudget, placements: Placements) -> RolloutPool:
    """Start the engines of a run that resumes after `resumed_step`, on their placements; do not wait for them.

    Engines that share a GPU with a learner start only when they are awaited, since they measure its free memory.
    """
    lora = inputs.config.learner.lora
    adapter = replace(lora, targets=adapted_kinds(inputs.config)) if lora.sent_alone else None
    return RolloutPool.of_engines(
        inputs.config,
        inputs.authors,
        restarts,
        gpus_per_replica=inputs.plan.gpus_per_replica,
        first_version=resumed_step,
        transport=inputs.transport,
        lora=adapter,
        sleep=inputs.plan.engines_sleep,
        cores=placements.engine_cores,
        placements=placements.replicas,
        wait=False,
    )


@contextmanager
def running_engines(inputs: Inputs, resources: SharedResources) -> Iterator[RolloutPool]:
    """Start the engines of a run without a learner, and end them after the block."""
    with start_engines(inputs, BASE_VERSION, resources.restarts, resources.placements) as pool:
        usual, console = usual_start(ENGINES, on_gpus=inputs.plan.on_gpus), resources.console.console
        with status(f"Starting {describe_components(inputs.config, learner=False)}", usual, console):
            pool.await_started()
        yield pool


@contextmanager
def start_rollout_run(
    inputs: Inputs,
    resources: SharedResources,
    pool: RolloutPool,
    state: DriverState = BASE_STATE,
    other_processes: Callable[[], Mapping[str, psutil.Process]] = dict,
) -> Iterator[RolloutRun]:
    """Start judge, terminal and watchdog of a run that resumes from `state` with the engines of `pool`.

    End them after the block. The watchdog also reports on `other_processes`. Raises `GuardError` at the end when a frozen
    junior has changed.
    """
    config, authors, (console, _, restarts) = inputs.config, inputs.authors, resources
    with ExitStack() as stack:
        judge = stack.enter_context(closing(Judge(config, restarts)))
        junior_checksums = pool.checksums(JUNIOR)
        console.print(f"Engines ready: up to {sum(pool.admitted)} concurrent rollouts")
        source = group_source(config, pool, authors, inputs.problems, state.step, state.stream_position, judge.begin)

        def processes() -> dict[str, psutil.Process]:
            return {**other_processes(), **pool.processes(), **judge.processes()}

        stack.enter_context(console)
        watchdog = stack.enter_context(Watchdog(config.guard.stall_s, processes, console.print))
        yield RolloutRun(config, authors, inputs.folder, console, pool, source, judge, restarts, watchdog)
        guards.check_unchanged(junior_checksums, pool.checksums(JUNIOR))


def start_learner(
    config: Config,
    plan: RunPlan,
    authors: Authors,
    placements: Placements,
    segment: Path,
    transport: str,
    saved: Path | None = None,
) -> LearnerGroup:
    """Start the learner with the state in the folder `saved`, or the base model's, on its placements.

    It publishes weights by `transport`; through shared memory in the file `segment`.
    """
    return LearnerGroup(
        config,
        str(authors.senior),
        segment,
        reference_path=str(authors.kl_reference(config.algo)),
        saved=saved,
        gpus_per_rank=plan.gpus_per_rank,
        placements=placements.ranks,
        transport=transport,
    )


@contextmanager
def start_training_run(inputs: Inputs, start_engines: EngineStarter = start_engines) -> Iterator[TrainingRun]:
    """Start all components of a run, in a Ray cluster and with an open run folder; end them after the block.

    Learner and engines have the weights of the checkpoint that the run resumes from. Raises `GuardError` at the end when a
    frozen junior has changed.
    """
    config, checkpoint = inputs.config, inputs.checkpoint
    with ExitStack() as stack:
        resources = stack.enter_context(reserve_resources(inputs))
        print_line = resources.console.print
        if checkpoint:
            print_line(f"resuming after step {checkpoint.step} from {checkpoint.path}")
        segment = stack.enter_context(claimed_file(segment_folder(), SEGMENT))
        start = partial(
            start_learner,
            config,
            inputs.plan,
            inputs.authors,
            resources.placements,
            segment,
            inputs.transport,
        )
        saved = checkpoint.learner if checkpoint else None
        kept = updates_kept(config.checkpoint.save_every)
        state = checkpoint.state() if checkpoint else BASE_STATE
        usual = usual_start(ENGINES, on_gpus=inputs.plan.on_gpus)
        with status(f"Starting {describe_components(config)}", usual, resources.console.console):
            pool = stack.enter_context(start_engines(inputs, state.step, resources.restarts, resources.placements))
            learner = stack.enter_context(ResilientLearner(start, resources.restarts, saved, kept=kept))
            pool.await_started()
        rollout_run = stack.enter_context(start_rollout_run(inputs, resources, pool, state, learner.processes))
        learner.connect(pool.actors, pool.sleeping)
        if checkpoint or pool.borrowed:
            pool.begin_weight_sync()
            guards.check_published(state.step, pool.finish_weight_sync(learner.publish(version=state.step)))
        checkpointer = Checkpointer(config, inputs.folder, learner, print_line)
        termination = TerminationHandler(config.checkpoint.on_signal_wait_s, print_line)
        canary = Canary(config, inputs.authors, inputs.problems, pool, learner)
        yield TrainingRun(
            **vars(rollout_run),
            learner=learner,
            held_out=inputs.held_out,
            resumed_step=state.step,
            checkpointer=checkpointer,
            termination=termination,
            canary=canary,
        )
