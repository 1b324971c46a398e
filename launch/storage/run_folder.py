"""The run folder, which holds all files of a run."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from transformers import PreTrainedTokenizerBase

from launch.command_line import resume_command
from launch.storage.append import LinesFile, replace_lines
from launch.storage.checkpoints import Checkpoints
from launch.storage.disk import UnwritableError
from launch.storage.loggers import loggers
from launch.storage.owner import check_free, owned
from launch.storage.places import check_senior_fallback, check_writable, dated_name, named_folder, runs_folder
from launch.storage.resume import NEW, Resumption, continuation
from tandem.config.schema import Config, ConfigError
from tandem.metrics import turn_lengths
from tandem.records.json_files import LogReader
from tandem.records.run_record import (
    BEST_SENIORS,
    CHECKPOINT_SENIORS,
    CHECKPOINTS,
    CONFIG,
    EVALUATED_PROBLEMS,
    EVALUATED_TEXTS,
    FINAL_SENIOR,
    LOGS,
    METRICS,
    SAMPLES,
    SAVED_ROLLOUTS,
    TRACE,
    write_config,
)
from tandem.records.saved_rollouts import Origin, save_step
from tandem.records.step_folders import remove_steps_after
from tandem.records.transcript import Transcript, transcript
from tandem.rollout import Group
from tandem.runtime.disk import tolerate_full_disk

LINES = (METRICS, SAMPLES, EVALUATED_PROBLEMS, EVALUATED_TEXTS)
"""The files with a line or more for each step."""


class RunFolder:
    """runs/NAME/ with configuration, metrics, samples, loggers' files, checkpoints, exported seniors and debugging data.

    A context manager, in whose block no other process may write to the folder. A resumed run (`resumption`) keeps the rows up
    to the step of its checkpoint. Raises `ConfigError` when the folder holds another run, which is never overwritten; when
    another process writes to it; and when it cannot be created.
    """

    def __init__(self, config: Config, resumption: Resumption = NEW) -> None:
        name = config.name or dated_name(config.schedule.name)
        self._config, self._resumption = config, resumption
        self._key = f"resume={config.resume}" if resumption.run and not config.name else f"name={name}"
        self.path = resumption.run or named_folder(config, name)
        self.checkpoints = Checkpoints(self.path / CHECKPOINTS, config.checkpoint)
        self._warned: set[str] = set()
        self.rows: list[dict[str, float]] = []
        """the metrics of all steps, including those before a resume"""
        check_free(self.path, self._key)
        check_writable(self.path, self._key)
        check_senior_fallback(config)
        for path in (self.config, *(self.path / name for name in LINES)):
            if path.exists() and not (path.is_file() and os.access(path, os.W_OK)):
                raise ConfigError(f"{self._key}: {path} is not a file that can be written; remove it, or choose another name")
        logged = list(LogReader(self.metrics).new())
        if resumption.run is None and self.metrics.exists():
            raise ConfigError(f"{self._key}: a run {self.path} exists{_last_step(logged)}; {_remedies(config, logged)}")
        if logged and resumption.checkpoint is None and logged[-1]["step"] >= config.steps:
            raise ConfigError(f"resume={config.resume}: {self.path} holds a finished run; choose another name, or remove it")
        self._fingerprint = _fingerprint(self.metrics)

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            before = stack.enter_context(owned(self.path, self._key))
            if _fingerprint(self.metrics) != self._fingerprint:
                raise ConfigError(f"{self._key}: another process has written to {self.path} meanwhile; start again")
            if before:
                print(f"warning: {self.path} was held by {before}, which did not exit normally: make sure that it has ended")
            write_config(self._config, self.path)
            checkpoint = self._resumption.checkpoint
            last = checkpoint.step if checkpoint else -1
            self.checkpoints.remove_after(last)
            remove_steps_after(self.rollouts, last)
            remove_steps_after(self.best, last)
            rows = {name: _cut(self.path / name, last) for name in LINES}
            self.rows = rows[METRICS]
            self._began, self._earlier_s = time.monotonic(), self.rows[-1].get("run/total_s", 0.0) if self.rows else 0.0
            self._lines = {name: LinesFile(self.path / name) for name in LINES}
            for file in self._lines.values():
                stack.callback(file.close)
            self._loggers = loggers(self._config, self.path, first=last + 1)
            self._identity = self.path.stat().st_ino
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        with self._stack:
            if isinstance(error, KeyboardInterrupt):
                with suppress(OSError, ConfigError):  # without the folder, the run ends without this advice
                    error.args = (self._interruption(),)
            for logger in self._loggers:
                self._show(logger.close)
            if unwritten := [name for name, file in self._lines.items() if not file.flush()]:
                names = ", ".join(unwritten)
                print(f"WARNING: {self.path} lacks the last lines of {names}, because its disk is full")

    def _interruption(self) -> str:
        """Return the last step of an interrupted run and the command that resumes it."""
        where = f"after step {int(self.rows[-1]['step'])}" if self.rows else "before the first step"
        if self._config.rollouts_only or self._config.learner_only:
            return where
        named = self._config.name and self.path == runs_folder(self._config) / self._config.name
        overrides = [f"name={self._config.name}", "resume=auto"] if named else [f"resume={self.path}"]
        checkpoints = self.checkpoints.complete()
        finished = bool(self.rows) and self.rows[-1]["step"] >= self._config.steps  # resume=auto would refuse it
        if not checkpoints and (finished or not named):
            return f"{where}; there is no checkpoint to resume from"
        last = f"checkpoint {checkpoints[0].step} is saved" if checkpoints else "there is no checkpoint yet"
        return f"{where}; {last}. {'Continue' if checkpoints else 'Start again'}: {resume_command(*overrides)}"

    @property
    def total_s(self) -> float:
        """The seconds for which the run has held the folder, those before a resume included."""
        return self._earlier_s + time.monotonic() - self._began

    def times(self) -> dict[str, float]:
        """Return the metrics of the time: now, in seconds since 1970, and `total_s`."""
        return {"run/unix_s": round(time.time(), 3), "run/total_s": round(self.total_s, 3)}

    @property
    def metrics(self) -> Path:
        """The file of metrics."""
        return self.path / METRICS

    @property
    def logs(self) -> Path:
        """The folder of the processes' logs."""
        return self.path / LOGS

    @property
    def config(self) -> Path:
        """The resolved configuration."""
        return self.path / CONFIG

    @property
    def senior(self) -> Path:
        """The folder of the exported final senior."""
        return self.path / FINAL_SENIOR

    @property
    def seniors(self) -> Path:
        """The folder of the exported seniors of checkpoints."""
        return self.path / CHECKPOINT_SENIORS

    @property
    def best(self) -> Path:
        """The folder of the seniors that `eval.select` keeps."""
        return self.path / BEST_SENIORS

    @property
    def rollouts(self) -> Path:
        """The folder of saved rollouts."""
        return self.path / SAVED_ROLLOUTS

    @property
    def trace(self) -> Path:
        """The file of a step's trace."""
        return self.path / TRACE

    def log(self, row: Mapping[str, float]) -> None:
        """Log a step's metrics; add missing keys if the last row has the same step.

        Keys that do not apply to the step must be absent; values that are not finite are omitted.
        """
        self.require()
        step, row = int(row["step"]), {key: value for key, value in row.items() if math.isfinite(value)}
        if self.rows and self.rows[-1]["step"] == step:
            row = {key: value for key, value in row.items() if key not in self.rows[-1]}
            self.rows[-1] |= row
            if not self._lines[METRICS].replace(self.rows):
                self._warn(f"{METRICS} lacks {', '.join(row)} of step {step}")
        else:
            self.rows.append(row)
            self._append(METRICS, [row])
        for logger in self._loggers:
            self._show(logger.scalars, step, row)

    def save_samples(
        self, step: int, groups: Sequence[Group], tokenizer: PreTrainedTokenizerBase, *, held_out: bool = False
    ) -> list[Transcript]:
        """Append and return the transcripts of the step's first rollouts, group by group; log the turn lengths of all of them.

        `held_out`: whether they belong to an evaluation.
        """
        self.require()
        rollouts = ((group, index) for group in groups for index in range(len(group.rollouts)))
        chosen = islice(rollouts, self._config.log.samples_per_step)
        samples = [transcript(step, group, index, tokenizer, held_out=held_out) for group, index in chosen]
        self._append(SAMPLES, samples)
        for logger in self._loggers:
            self._show(logger.samples, step, "samples/held_out" if held_out else "samples/training", samples)
            if not held_out:
                for key, lengths in turn_lengths(groups).items():
                    self._show(logger.histogram, step, key, lengths)
        return samples

    def save_evaluation(self, step: int, problems: Iterable[Mapping[str, Any]], texts: Iterable[Mapping[str, Any]]) -> None:
        """Append the rows of an evaluation after the step: one for each problem, and one for each text."""
        self.require()
        self._append(EVALUATED_PROBLEMS, [{"step": step} | dict(row) for row in problems])
        self._append(EVALUATED_TEXTS, [{"step": step} | dict(row) for row in texts])

    def save_rollouts(self, step: int, groups: Sequence[Group], origin: Origin) -> None:
        """Save the step's groups with all their data."""
        self.require()
        save_step(self.rollouts, step, groups, origin)

    def require(self) -> None:
        """Raise `UnwritableError` when the folder has been removed or replaced since the start of the run."""
        try:
            unchanged = self.path.stat().st_ino == self._identity
        except FileNotFoundError:
            unchanged = False
        if not unchanged:
            raise UnwritableError(
                f"{self.path}: the run folder was removed or renamed during the run, which ends after step "
                f"{int(self.rows[-1]['step']) if self.rows else 0}: nothing more could be kept"
            )

    def _append(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        if not self._lines[name].append(rows):
            self._warn("metrics and samples are kept in memory until it has space")

    def _show(self, show: Callable[..., None], *arguments: Any) -> None:
        """Call a logger's method `show`; skip the data if the disk is full."""
        with tolerate_full_disk(lambda error: self._warn("TensorBoard lacks what is logged meanwhile")):
            show(*arguments)

    def _warn(self, what: str) -> None:
        warning = f"WARNING: the disk of {self.path} is full; {what}"
        if warning not in self._warned:
            print(warning)
        self._warned.add(warning)


def _last_step(rows: Sequence[Mapping[str, float]]) -> str:
    return f", which has ended at step {int(rows[-1]['step'])}" if rows else ""


def _remedies(config: Config, rows: Sequence[Mapping[str, float]]) -> str:
    """Return what to do where the run `config.name`, with the metrics `rows`, exists."""
    resumed = continuation(config, rows[-1] if rows else {})
    return f"choose another name, remove it, or {resumed}" if resumed else "choose another name, or remove it"


def _fingerprint(path: Path) -> tuple[int, int] | None:
    """Return size and modification time of the file; None if it does not exist."""
    return (status.st_size, status.st_mtime_ns) if path.exists() and (status := path.stat()) else None


def _cut(path: Path, last: int) -> list[dict[str, Any]]:
    """Remove the rows after step `last` from `path`, and return the others."""
    rows = [row for row in LogReader(path).new() if row["step"] <= last]
    replace_lines(path, rows)
    return rows
