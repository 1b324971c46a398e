"""What takes part in a run, and how it is started: learner, engines, judge, run folder, terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psutil

from actors.ahead import WritesAhead
from actors.in_turn import WritesInTurn
from actors.reward import Judge
from actors.rollout_pool import RolloutPool
from launch.records.checkpoints import Checkpoint, State
from launch.records.run_folder import RunFolder
from launch.records.sealed import disk_full, written_aside
from launch.resources.claims import claimed_file
from launch.resources.plan import print_plan
from launch.resources.seats import Seats, reserved
from launch.running.console import TrainingConsole
from launch.running.inputs import Inputs
from launch.running.watchdog import Watchdog
from launch.running.writing import group_source
from learner.group import LearnerGroup, segment_path
from learner.supervised import SupervisedLearner
from tandem import guards
from tandem.authors import Authors
from tandem.config import Config
from tandem.processes import host_memory_fraction
from tandem.restarts import RestartBudget
from tandem.rollout import BASE_VERSION, JUNIOR, Prompt
from tandem.staleness import START
from tandem.weights import SHM

StartsEngines = Callable[[Inputs, int, RestartBudget, Seats], AbstractContextManager[RolloutPool]]


@dataclass(frozen=True)
class Parts:
    """The parts of a run, all of them started."""

    config: Config
    done: int
    """steps that are done already: after which the run goes on"""
    authors: Authors
    folder: RunFolder
    console: TrainingConsole
    learner: SupervisedLearner
    rollouts: RolloutPool
    writing: WritesAhead | WritesInTurn
    """has `rollouts` write the groups to train on"""
    judge: Judge
    held_out: list[Prompt]
    """what the senior is evaluated on"""
    budget: RestartBudget
    """of restarts of all parts"""
    watchdog: Watchdog

    def log(self, row: Mapping[str, float]) -> None:
        """Keeps and shows one step's metrics."""
        self.folder.log(row)
        self.console.row(row)
        self.watchdog.alive()

    def resources(self) -> dict[str, float]:
        """Metrics of the memory in use, on this host and in the engines' KV caches, and of the restarts so far."""
        kv_usage = {f"engine/kv_usage_{name}": used for name, used in self.rollouts.kv_usage().items()}
        return kv_usage | {"host/memory_fraction": host_memory_fraction(), "run/restarts": self.budget.total}

    def save(self, step: int) -> None:
        """Writes a checkpoint after `step` if one is due. If the disk is full, the ones before are kept and the run goes on."""
        checkpoints = self.folder.checkpoints
        if not checkpoints.due(step, self.config.steps):
            return
        try:
            path = checkpoints.save(State(step, self.writing.place), self.folder.config, self.learner.save)
            self.learner.checkpointed(Checkpoint(path).learner)
            if self.config.checkpoint.export:
                with written_aside(self.folder.seniors / f"step-{step:06d}") as partial:
                    self.learner.export(partial)
        except OSError as error:
            if not disk_full(error):
                raise
            kept = checkpoints.complete()
            self.console.say(
                f"WARNING: nothing could be saved after step {step}, for the disk of {self.folder.path} is full ({error}); "
                + (f"{kept[0].path} is kept" if kept else "there is no checkpoint yet")
                + ", and the run goes on. Make room before the next one is due"
            )


def start_engines(inputs: Inputs, done: int, budget: RestartBudget, seats: Seats) -> RolloutPool:
    """The engines of a run that goes on after step `done`, on their seats."""
    return RolloutPool.of_engines(
        inputs.config,
        inputs.authors,
        gpus_per_replica=inputs.plan.gpus_per_replica,
        first_version=done,
        transport=inputs.transport,
        budget=budget,
        cores=seats.engine_cores,
        seats=seats.replicas,
    )


def start_learner(inputs: Inputs, segment: Path, seats: Seats, saved: Path | None) -> LearnerGroup:
    """The learner with the state in `saved`, or the base model's, on its seats, publishing in `segment`."""
    return LearnerGroup(
        inputs.config,
        str(inputs.authors.senior),
        inputs.authors.sentinel,
        saved=saved,
        segment=segment,
        gpus_per_rank=inputs.plan.gpus_per_rank,
        seats=seats.ranks,
        transport=inputs.transport,
    )


@contextmanager
def started(inputs: Inputs, start_engines: StartsEngines = start_engines) -> Iterator[Parts]:
    """Starts everything that a run takes, in a Ray cluster and with an open run folder, and ends it again.

    Learner and engines have the weights of the checkpoint that the run goes on from. Raises `GuardError` at the end when a
    frozen junior has changed.
    """
    config, authors, folder, checkpoint = inputs.config, inputs.authors, inputs.folder, inputs.checkpoint
    plan, console = inputs.plan, TrainingConsole(config.steps)
    with ExitStack() as stack:
        if plan.mode == "cluster" or plan.on_gpus:
            print_plan(plan, console.console)
        seats = stack.enter_context(reserved(plan, authors, config.mode.cpu_cores, shares_memory=inputs.transport == SHM))
        console.say(f"run folder {folder.path}; senior {authors.senior}; {inputs.problems.left_out}")
        for warning in inputs.warnings:
            console.say(warning)
        if checkpoint:
            console.say(f"going on after step {checkpoint.step}, from {checkpoint.path}")
        console.say(f"starting the learner ({config.learner.ranks} ranks, ZeRO-{config.learner.zero_stage}) ...")
        saved = checkpoint.learner if checkpoint else None
        segment = stack.enter_context(claimed_file(segment_path().parent, ".weights"))
        budget = RestartBudget(config.guard.max_restarts_per_hour, console.say)
        learner = stack.enter_context(SupervisedLearner(partial(start_learner, inputs, segment, seats), budget, saved))
        console.say(f"starting the engines of {config.rollout.replicas} rollout actors ...")
        state = checkpoint.state() if checkpoint else State(BASE_VERSION, START)
        rollouts = stack.enter_context(start_engines(inputs, state.step, budget, seats))
        learner.connect(rollouts.actors)
        judge = Judge(config.judge, budget, config.data.verifier)
        stack.callback(judge.close)
        frozen = rollouts.checksums(JUNIOR)
        if checkpoint:
            guards.check_published(state.step, rollouts.receive_weights(learner.publish(version=state.step)))
        console.say(f"{sum(rollouts.admitted)} rollouts may be in flight")
        writing = group_source(config, rollouts, authors, inputs.problems, state.step, state.place)

        def processes() -> dict[str, psutil.Process]:
            return learner.processes() | rollouts.processes() | judge.processes()

        stack.enter_context(console)
        watchdog = stack.enter_context(Watchdog(config.guard.stall_s, processes, console.say))
        yield Parts(
            config,
            state.step,
            authors,
            folder,
            console,
            learner,
            rollouts,
            writing,
            judge,
            inputs.held_out,
            budget,
            watchdog,
        )
        guards.check_unchanged(frozen, rollouts.checksums(JUNIOR))
