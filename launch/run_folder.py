"""The run folder: everything a run leaves behind."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml
from torch.utils.tensorboard import SummaryWriter
from transformers import PreTrainedTokenizerBase

from launch.checkpoints import Checkpoints
from launch.resume import NEW, Resumption
from tandem.config import Config, ConfigError
from tandem.rollout import SENIOR, Group


class RunFolder:
    """runs/NAME/ with config.yaml, metrics.jsonl, samples.jsonl, TensorBoard files, checkpoints and the exported senior; a
    context manager.

    A run that goes on (`resumption`) keeps what was logged up to the step after which it does. Raises `ConfigError` when the
    folder already holds another run: nothing is overwritten.
    """

    def __init__(self, config: Config, resumption: Resumption = NEW) -> None:
        name = config.name or f"{datetime.now():%Y%m%d-%H%M%S}-{config.schedule.name}"
        self._config, self._resumption = config, resumption
        self.path = resumption.run or Path(config.log.dir).expanduser().resolve() / name
        self.checkpoints = Checkpoints(self.path / "checkpoints", config.checkpoint)
        self.rows: list[dict[str, float]] = []
        """the metrics of all steps, those before a resumption too"""
        logged = _json_lines(self.path / "metrics.jsonl")
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
        self.rows = _cut(self.path / "metrics.jsonl", last)
        _cut(self.path / "samples.jsonl", last)
        self._metrics = (self.path / "metrics.jsonl").open("a")
        self._samples = (self.path / "samples.jsonl").open("a")
        board = str(self.path / "tensorboard")
        self._board = SummaryWriter(board, purge_step=last + 1) if self._config.log.tensorboard else None
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._metrics.close()
        self._samples.close()
        if self._board:
            self._board.close()

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

    def log(self, row: Mapping[str, float]) -> None:
        """Appends one step's metrics. A key that does not apply to the step must be absent; what is not finite is left out."""
        row = {key: value for key, value in row.items() if math.isfinite(value)}
        self.rows.append(row)
        self._metrics.write(json.dumps(row) + "\n")
        self._metrics.flush()
        if self._board:
            for key, value in row.items():
                self._board.add_scalar(key, value, int(row["step"]))

    def keep_samples(self, step: int, groups: Sequence[Group], tokenizer: PreTrainedTokenizerBase) -> None:
        """Appends the first rollouts of the step, turn by turn with their authors."""
        for group in groups[: self._config.log.samples_per_step]:
            self._samples.write(json.dumps(_sample(step, group, tokenizer), ensure_ascii=False) + "\n")
        self._samples.flush()


def _json_lines(path: Path) -> list[dict[str, Any]]:
    """What `path` holds, if it exists; not a line at its end that was never finished."""
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def _cut(path: Path, last: int) -> list[dict[str, Any]]:
    """Leaves in `path` what was logged up to step `last`, and returns it."""
    kept = [row for row in _json_lines(path) if row["step"] <= last]
    shorter = path.with_name(f"{path.name}.cut")
    shorter.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in kept))
    shorter.replace(path)
    return kept


def _sample(step: int, group: Group, tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    rollout = group.rollouts[0]
    turns = [
        {
            "author": "senior" if turn.author == SENIOR else "junior",
            "text": tokenizer.decode(rollout.token_ids[turn.start : turn.stop]),
        }
        for turn in rollout.turns
    ]
    return {
        "step": step,
        "id": rollout.id,
        "question": group.prompt.problem.question,
        "gold": group.prompt.problem.answer,
        "junior": rollout.junior,
        "turns": turns,
        "end": rollout.end.value,
        "verdict": group.verdicts[0].value,
        "extracted": group.judgements[0].extracted,
        "reward": float(group.rewards[0]),
        "advantage": float(group.advantages[0]),
    }
