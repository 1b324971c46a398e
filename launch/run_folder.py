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

from tandem.config import Config, ConfigError
from tandem.rollout import SENIOR, Group


class RunFolder:
    """runs/NAME/ with config.yaml, metrics.jsonl, samples.jsonl, TensorBoard files and the exported senior; a context manager.

    Raises `ConfigError` when the folder already holds a run: nothing is overwritten.
    """

    def __init__(self, config: Config) -> None:
        name = config.name or f"{datetime.now():%Y%m%d-%H%M%S}-{config.schedule.name}"
        self._config = config
        self.path = Path(config.log.dir).expanduser().resolve() / name
        if (self.path / "metrics.jsonl").exists():
            raise ConfigError(f"name={name}: {self.path} already holds a run; choose another name or remove it")

    def __enter__(self) -> Self:
        self.path.mkdir(parents=True, exist_ok=True)
        (self.path / "config.yaml").write_text(yaml.safe_dump(asdict(self._config) | {"name": self.path.name}, sort_keys=False))
        self._metrics = (self.path / "metrics.jsonl").open("w")
        self._samples = (self.path / "samples.jsonl").open("w")
        self._board = SummaryWriter(str(self.path / "tensorboard")) if self._config.log.tensorboard else None
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._metrics.close()
        self._samples.close()
        if self._board:
            self._board.close()

    @property
    def senior(self) -> Path:
        """Where the final senior is exported."""
        return self.path / "senior"

    def log(self, row: Mapping[str, float]) -> None:
        """Appends one step's metrics. A key that does not apply to the step must be absent; what is not finite is left out."""
        row = {key: value for key, value in row.items() if math.isfinite(value)}
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
        "reward": float(group.rewards[0]),
        "advantage": float(group.advantages[0]),
    }
