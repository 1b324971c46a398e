"""The components of a run, and how they log, save and stop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property

from actors.group_source import GroupSource
from actors.reward import Judge
from actors.rollout_pool import RolloutPool
from launch.run.canary import Canary
from launch.run.checkpointing import Checkpointer
from launch.run.console import TrainingConsole
from launch.run.profiling import step_clock
from launch.run.termination import TerminationHandler
from launch.run.watchdog import Watchdog
from launch.storage.checkpoints import DriverState
from launch.storage.run_folder import RunFolder
from learner.resilient_learner import ResilientLearner
from tandem.authors import Authors
from tandem.config.schema import Config
from tandem.metrics import PhaseTimer
from tandem.records.saved_rollouts import Origin
from tandem.rollout import Group, Prompt
from tandem.runtime.processes import host_memory_fraction
from tandem.runtime.restarts import RestartBudget
from tandem.runtime.trace import Profiled


@dataclass(frozen=True)
class RolloutRun:
    """The components that write and judge rollouts, and those that record the results."""

    config: Config
    authors: Authors
    folder: RunFolder
    console: TrainingConsole
    pool: RolloutPool
    group_source: GroupSource
    """has `pool` write the groups"""
    judge: Judge
    restarts: RestartBudget
    """of all components"""
    watchdog: Watchdog

    def step_clock(self, step: int) -> AbstractContextManager[PhaseTimer]:
        """Yield the clock of `step`; profile the block if this step is to be profiled."""
        return step_clock(self.config, step, self.folder.trace, self._profiled, self.console.print)

    @property
    def _profiled(self) -> list[Profiled]:
        """The components that a profiled step traces."""
        return [self.pool, self.judge]

    def save_samples(self, step: int, groups: Sequence[Group]) -> None:
        """Save some rollouts of `groups` to be read, and whole groups if the configuration asks for them."""
        samples = self.folder.save_samples(step, groups, self.authors.tokenizer)
        self.console.transcripts(samples[: self.config.log.print_samples])
        if self.config.log.rollouts or self.config.rollouts_only:
            self.folder.save_rollouts(step, groups, self._origin)

    @cached_property
    def _origin(self) -> Origin:
        return Origin.of(self.authors, self.config.rollout.sampling.temperature)

    def step_row(self, step: int, version: int, metrics: Mapping[str, float], clock: PhaseTimer) -> dict[str, float]:
        """Return the step's line of metrics: `metrics`, the times of `clock`, and the use of memory and restarts.

        `version` is the version of the engines' weights after the step.
        """
        row = {"step": step, "weights/version": version} | dict(metrics) | clock.metrics() | self._resource_metrics()
        # An asynchronous group source has rollouts written during the whole step.
        seconds = row["time/step_s"] if self.config.rollout.max_staleness else clock.seconds["generate"]
        return row | {"rollout/tokens_per_s": row["rollout/tokens"] / seconds}

    def _resource_metrics(self) -> dict[str, float]:
        engines: dict[str, float] = {}
        for name, use in self.pool.kv_use().items():
            engines |= {f"engine/kv_usage_{name}": use.peak, f"engine/preemptions_{name}": use.preemptions}
        return engines | {"host/memory_fraction": host_memory_fraction(), "run/restarts": self.restarts.total}

    def log(self, row: Mapping[str, float]) -> None:
        """Save and show one step's metrics, with the time."""
        self.folder.log({**row, **self.folder.times()})
        self.console.row(row)
        self.watchdog.alive()


@dataclass(frozen=True)
class TrainingRun(RolloutRun):
    """The components of a run that trains."""

    learner: ResilientLearner
    held_out: list[Prompt]
    """what the senior is evaluated on"""
    resumed_step: int
    """the step of the checkpoint that the run resumes from; 0: none"""
    checkpointer: Checkpointer
    termination: TerminationHandler
    canary: Canary

    @property
    def _profiled(self) -> list[Profiled]:
        return [*super()._profiled, self.learner]

    def finish_update(self, step: int, row: Mapping[str, float]) -> None:
        """Note that learner and engines are at `step`, whose metrics are `row` so far. Raises `Terminated` if SIGTERM waits."""
        self.termination.finish_update(self._state(step), row)

    def log(self, row: Mapping[str, float]) -> None:
        """Save and show one step's metrics, with the time, and note that they are logged."""
        super().log(row)
        self.termination.row = None

    def save_if_due(self, step: int) -> None:
        """Write a checkpoint if one is due after `step`."""
        self.checkpointer.save_if_due(self._state(step))

    def save_at_end(self, step: int) -> None:
        """Write a checkpoint after `step`, with which the run ends early, unless it exists."""
        self.checkpointer.save_at_end(self._state(step))

    def handle_termination(self) -> AbstractContextManager[None]:
        """Handle SIGTERM in the block: save a checkpoint, if `checkpoint.on_signal` is set, and raise `Terminated`."""
        return self.termination.handle(self._save_at_signal)

    def _save_at_signal(self, state: DriverState) -> None:
        if self.termination.row:
            self.log(self.termination.row)  # without an evaluation, which the resumed run adds
        self.checkpointer.save_at_signal(state)

    def _state(self, step: int) -> DriverState:
        return DriverState(step, self.group_source.stream_position)
