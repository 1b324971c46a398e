"""What takes part in a run, and how it is started: learner, engines, judge, run folder, terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import NamedTuple

import psutil

from actors.async_groups import AsyncGroupSource
from actors.in_turn import SyncGroupSource
from actors.reward import Judge
from actors.rollout_pool import RolloutPool
from launch.cluster.locks import SEGMENT, claimed_file
from launch.cluster.placements import Placements, reserve_placements
from launch.cluster.plan import print_plan
from launch.run.console import TrainingConsole
from launch.run.group_source import group_source
from launch.run.inputs import Inputs
from launch.run.stopping import Stopping
from launch.run.watchdog import Watchdog
from launch.storage.atomic_dir import written_aside
from launch.storage.checkpoints import Checkpoint, State
from launch.storage.run_folder import RunFolder
from launch.storage.saved_rollouts import Origin
from learner.group import LearnerGroup
from learner.resilient_learner import ResilientLearner, updates_kept
from tandem import guards
from tandem.authors import Authors
from tandem.config.schema import Config
from tandem.rollout import BASE_VERSION, JUNIOR, Group, Prompt
from tandem.runtime.disk import disk_full
from tandem.runtime.processes import host_memory_fraction
from tandem.runtime.restarts import RestartBudget
from tandem.runtime.segment import segment_folder
from tandem.runtime.trace import Profiled
from tandem.runtime.weights import SHM
from tandem.staleness import START

StartsEngines = Callable[[Inputs, int, RestartBudget, Placements], AbstractContextManager[RolloutPool]]
BEGINNING = State(BASE_VERSION, START)
"""Where a run begins that goes on from no checkpoint."""


class Stage(NamedTuple):
    """What all parts are started on."""

    console: TrainingConsole
    placements: Placements
    budget: RestartBudget
    """of restarts of all parts"""


@dataclass(frozen=True)
class RolloutRun:
    """The parts that write and judge rollouts, all of them started, and what keeps them."""

    config: Config
    authors: Authors
    folder: RunFolder
    console: TrainingConsole
    rollouts: RolloutPool
    writing: AsyncGroupSource | SyncGroupSource
    """has `rollouts` write the groups to train on"""
    judge: Judge
    budget: RestartBudget
    """of restarts of all parts"""
    watchdog: Watchdog

    @property
    def profiled(self) -> list[Profiled]:
        """Whose processes a profiled step looks into."""
        return [self.rollouts, self.judge]

    def keep(self, step: int, groups: Sequence[Group]) -> None:
        """Keeps some of what the step learns from to be read, and all of it if it is to be learned from again."""
        self.folder.keep_samples(step, groups, self.authors.tokenizer)
        if self.config.log.rollouts or self.config.rollouts_only:
            self.folder.keep_rollouts(step, groups, self._origin)

    @cached_property
    def _origin(self) -> Origin:
        return Origin.of(self.authors, self.config.rollout.sampling.temperature)

    def log(self, row: Mapping[str, float]) -> None:
        """Keeps and shows one step's metrics."""
        self.folder.log(row)
        self.console.row(row)
        self.watchdog.alive()

    def resources(self) -> dict[str, float]:
        """Metrics of the memory in use, on this host and in the engines' KV caches, and of the restarts so far."""
        kv_usage = {f"engine/kv_usage_{name}": used for name, used in self.rollouts.kv_usage().items()}
        return kv_usage | {"host/memory_fraction": host_memory_fraction(), "run/restarts": self.budget.total}


@dataclass(frozen=True)
class TrainingRun(RolloutRun):
    """The parts of a run that learns."""

    done: int
    """steps that are done already: after which the run goes on"""
    learner: ResilientLearner
    held_out: list[Prompt]
    """what the senior is evaluated on"""
    stopping: Stopping
    """what SIGTERM does"""

    @property
    def profiled(self) -> list[Profiled]:
        """See `RolloutRun.profiled`."""
        return [*super().profiled, self.learner]

    def reached(self, step: int, row: Mapping[str, float]) -> None:
        """Note that learner and engines are at `step`, whose metrics are `row` so far: SIGTERM saves that."""
        self.stopping.reached(State(step, self.writing.place), row)

    def log(self, row: Mapping[str, float]) -> None:
        """See `RolloutRun.log`."""
        super().log(row)
        self.stopping.row = None

    def stoppable(self) -> AbstractContextManager[None]:
        """Have SIGTERM end the block after a checkpoint, as `checkpoint.on_signal` says."""
        return self.stopping.saving(self._save_at_signal)

    def _save_at_signal(self, state: State) -> None:
        if self.stopping.row:
            self.log(self.stopping.row)  # its evaluation is made up for when the run goes on
        checkpoint, newest = self.config.checkpoint, next(iter(self.folder.checkpoints.complete()), None)
        if checkpoint.on_signal and checkpoint.save_every and (newest is None or newest.step != state.step):
            self.console.print(f"SIGTERM: writing a checkpoint of step {state.step}")
            self._write(state, "the run ends")

    def save(self, step: int) -> None:
        """Writes a checkpoint after `step` if one is due. If the disk is full, the ones before are kept and the run goes on."""
        if self.folder.checkpoints.due(step, self.config.steps):
            self._write(State(step, self.writing.place), "the run goes on. Make room before the next one is due")

    def _write(self, state: State, then: str) -> None:
        """Writes a checkpoint; if the disk is full, says so, and what happens `then`."""
        self.folder.require()
        checkpoints = self.folder.checkpoints
        try:
            path = checkpoints.save(state, self.folder.config, self.learner.save)
            self.learner.checkpointed(Checkpoint(path).learner)
            if self.config.checkpoint.export:
                with written_aside(self.folder.seniors / f"step-{state.step:06d}") as partial:
                    self.learner.export(partial)
        except OSError as error:
            if not disk_full(error):
                raise
            kept = checkpoints.complete()
            self.console.print(
                f"WARNING: nothing could be saved after step {state.step}, for the disk of {self.folder.path} is full "
                f"({error}); {f'{kept[0].path} is kept' if kept else 'there is no checkpoint yet'}, and {then}"
            )


def start_engines(inputs: Inputs, done: int, budget: RestartBudget, placements: Placements) -> RolloutPool:
    """The engines of a run that goes on after step `done`, on their placements."""
    return RolloutPool.of_engines(
        inputs.config,
        inputs.authors,
        gpus_per_replica=inputs.plan.gpus_per_replica,
        first_version=done,
        transport=inputs.transport,
        sleep=inputs.plan.engines_sleep,
        budget=budget,
        cores=placements.engine_cores,
        placements=placements.replicas,
    )


def start_learner(inputs: Inputs, segment: Path, placements: Placements, saved: Path | None) -> LearnerGroup:
    """The learner with the state in `saved`, or the base model's, on its placements, publishing in `segment`."""
    return LearnerGroup(
        inputs.config,
        str(inputs.authors.senior),
        saved=saved,
        segment=segment,
        gpus_per_rank=inputs.plan.gpus_per_rank,
        placements=placements.ranks,
        transport=inputs.transport,
    )


@contextmanager
def staged(inputs: Inputs) -> Iterator[Stage]:
    """Says what the run begins with, and reserves the placements of its parts."""
    plan, console = inputs.plan, TrainingConsole(inputs.config.steps)
    if plan.mode == "cluster" or plan.on_gpus:
        print_plan(plan, console.console)
    cores, shares_memory = inputs.config.mode.cpu_cores, inputs.transport == SHM
    with reserve_placements(plan, inputs.authors, cores, shares_memory=shares_memory) as placements:
        console.print(f"run folder {inputs.folder.path}; senior {inputs.authors.senior}; {inputs.problems.left_out}")
        for warning in inputs.warnings:
            console.print(warning)
        yield Stage(console, placements, RestartBudget(inputs.config.guard.max_restarts_per_hour, console.print))


@contextmanager
def writing_started(
    inputs: Inputs,
    stage: Stage,
    state: State,
    start_engines: StartsEngines = start_engines,
    others: Callable[[], Mapping[str, psutil.Process]] = dict,
) -> Iterator[RolloutRun]:
    """Starts what writes and judges for a run that goes on from `state`, and the console, and ends them again.

    The watchdog looks into `others` too. Raises `GuardError` at the end when a frozen junior has changed.
    """
    config, authors, (console, placements, budget) = inputs.config, inputs.authors, stage
    with ExitStack() as stack:
        console.print(f"starting the engines of {config.rollout.replicas} rollout actors ...")
        rollouts = stack.enter_context(start_engines(inputs, state.step, budget, placements))
        judge = Judge(config.judge, budget, config.data.verifier)
        stack.callback(judge.close)
        frozen = rollouts.checksums(JUNIOR)
        console.print(f"{sum(rollouts.admitted)} rollouts may be in flight")
        writing = group_source(config, rollouts, authors, inputs.problems, state.step, state.place)

        def processes() -> dict[str, psutil.Process]:
            return {**others(), **rollouts.processes(), **judge.processes()}

        stack.enter_context(console)
        watchdog = stack.enter_context(Watchdog(config.guard.stall_s, processes, console.print))
        yield RolloutRun(config, authors, inputs.folder, console, rollouts, writing, judge, budget, watchdog)
        guards.check_unchanged(frozen, rollouts.checksums(JUNIOR))


@contextmanager
def started(inputs: Inputs, start_engines: StartsEngines = start_engines) -> Iterator[TrainingRun]:
    """Starts everything that a run takes, in a Ray cluster and with an open run folder, and ends it again.

    Learner and engines have the weights of the checkpoint that the run goes on from. Raises `GuardError` at the end when a
    frozen junior has changed.
    """
    config, checkpoint = inputs.config, inputs.checkpoint
    with ExitStack() as stack:
        stage = stack.enter_context(staged(inputs))
        if checkpoint:
            stage.console.print(f"going on after step {checkpoint.step}, from {checkpoint.path}")
        stage.console.print(f"starting the learner ({config.learner.ranks} ranks, ZeRO-{config.learner.zero_stage}) ...")
        saved = checkpoint.learner if checkpoint else None
        segment = stack.enter_context(claimed_file(segment_folder(), SEGMENT))
        start = partial(start_learner, inputs, segment, stage.placements)
        learner = stack.enter_context(
            ResilientLearner(start, stage.budget, saved, kept=updates_kept(config.checkpoint.save_every))
        )
        state = checkpoint.state() if checkpoint else BEGINNING
        parts = stack.enter_context(writing_started(inputs, stage, state, start_engines, learner.processes))
        learner.connect(parts.rollouts.actors, parts.rollouts.sleeping)
        if checkpoint:
            guards.check_published(state.step, parts.rollouts.receive_weights(learner.publish(version=state.step)))
        stopping = Stopping(config.checkpoint.on_signal_wait_s, stage.console.print)
        yield TrainingRun(**vars(parts), done=state.step, learner=learner, held_out=inputs.held_out, stopping=stopping)
