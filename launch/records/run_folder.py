"""The run folder: everything a run leaves behind."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml
from transformers import PreTrainedTokenizerBase

from launch.records.boards import boards
from launch.records.checkpoints import Checkpoints
from launch.records.resume import NEW, Resumption, runs_folder
from launch.records.run_record import JsonLines
from launch.records.saved_rollouts import Origin, go_back, save_step
from launch.records.transcript import transcript
from tandem.config import Config, ConfigError
from tandem.metrics import turn_lengths
from tandem.rollout import Group


class RunFolder:
    """runs/NAME/ with config.yaml, metrics.jsonl, samples.jsonl, what boards show, checkpoints and the exported senior, and
    what debugging leaves; a context manager.

    A run that goes on (`resumption`) keeps what was logged up to the step after which it does. Raises `ConfigError` when the
    folder already holds another run: nothing is overwritten.
    """

    def __init__(self, config: Config, resumption: Resumption = NEW) -> None:
        name = config.name or f"{datetime.now():%Y%m%d-%H%M%S}-{config.schedule.name}"
        self._config, self._resumption = config, resumption
        self.path = resumption.run or runs_folder(config) / name
        self.checkpoints = Checkpoints(self.path / "checkpoints", config.checkpoint)
        self.rows: list[dict[str, float]] = []
        """the metrics of all steps, those before a resumption too"""
        logged = list(JsonLines(self.path / "metrics.jsonl").new())
        if resumption.run is None and (self.path / "metrics.jsonl").exists():
            raise ConfigError(
                f"name={name}: {self.path} already holds a run; choose another name or remove it; resume=auto goes on with it"
            )
        if logged and resumption.checkpoint is None and logged[-1]["step"] >= config.steps:
            raise ConfigError(f"resume={config.resume}: {self.path} holds a finished run; choose another name")

    def __enter__(self) -> Self:
        self.path.mkdir(parents=True, exist_ok=True)
        self.config.write_text(yaml.safe_dump(asdict(self._config) | {"name": self.path.name}, sort_keys=False))
        checkpoint = self._resumption.checkpoint
        last = checkpoint.step if checkpoint else -1
        self.checkpoints.go_back(last)
        go_back(self.rollouts, last)
        self.rows = _cut(self.path / "metrics.jsonl", last)
        _cut(self.path / "samples.jsonl", last)
        self._metrics = (self.path / "metrics.jsonl").open("a")
        self._samples = (self.path / "samples.jsonl").open("a")
        self._boards = boards(self._config, self.path, first=last + 1)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._metrics.close()
        self._samples.close()
        for board in self._boards:
            board.close()

    @property
    def config(self) -> Path:
        """The resolved configuration."""
        return self.path / "config.yaml"

    @property
    def senior(self) -> Path:
        """Where the final senior is exported."""
        return self.path / "senior"

    @property
    def seniors(self) -> Path:
        """Where the seniors of checkpoints are exported."""
        return self.path / "seniors"

    @property
    def rollouts(self) -> Path:
        """Where whole rollouts are saved."""
        return self.path / "rollouts"

    @property
    def trace(self) -> Path:
        """Where the trace of a step is written."""
        return self.path / "trace.json.gz"

    def log(self, row: Mapping[str, float]) -> None:
        """Appends one step's metrics. A key that does not apply to the step must be absent; what is not finite is left out."""
        row = {key: value for key, value in row.items() if math.isfinite(value)}
        self.rows.append(row)
        self._metrics.write(json.dumps(row) + "\n")
        self._metrics.flush()
        for board in self._boards:
            board.scalars(int(row["step"]), row)

    def keep_samples(
        self, step: int, groups: Sequence[Group], tokenizer: PreTrainedTokenizerBase, *, held_out: bool = False
    ) -> None:
        """Appends the step's first rollouts, whole groups as far as they go, word by word with their authors; boards also show
        how long the turns of all of them are. `held_out`: whether they are of an evaluation."""
        rollouts = ((group, index) for group in groups for index in range(len(group.rollouts)))
        chosen = islice(rollouts, self._config.log.samples_per_step)
        samples = [transcript(step, group, index, tokenizer, held_out=held_out) for group, index in chosen]
        for sample in samples:
            self._samples.write(json.dumps(sample, ensure_ascii=False) + "\n")
        self._samples.flush()
        for board in self._boards:
            board.samples(step, "samples/held_out" if held_out else "samples/training", samples)
            if not held_out:
                for key, lengths in turn_lengths(groups).items():
                    board.histogram(step, key, lengths)

    def keep_rollouts(self, step: int, groups: Sequence[Group], origin: Origin) -> None:
        """Saves the step's groups whole."""
        save_step(self.rollouts, step, groups, origin)


def _cut(path: Path, last: int) -> list[dict[str, Any]]:
    """Leaves in `path` what was logged up to step `last`, and returns it."""
    kept = [row for row in JsonLines(path).new() if row["step"] <= last]
    shorter = path.with_name(f"{path.name}.cut")
    shorter.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in kept))
    shorter.replace(path)
    return kept
