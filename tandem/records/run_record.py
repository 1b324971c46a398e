"""The record of a finished or running run, read from its folder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from tandem.config.load import typed
from tandem.config.schema import Config, ConfigError
from tandem.records.json_files import RESTORE, LogReader
from tandem.records.step_folders import step_folders
from tandem.records.transcript import Transcript
from tandem.runtime.disk import reason

SAMPLE = {"step", "set", "id", "problem", "question", "junior", "turns", "verdict", "reward"}
TURN = {"author", "text"}
CONFIG, METRICS, SAMPLES = "config.yaml", "metrics.jsonl", "samples.jsonl"
"""The files of a run folder that hold its settings, its metrics and its sampled texts."""
EVALUATED_PROBLEMS, EVALUATED_TEXTS = "evaluation_problems.jsonl", "evaluation_texts.jsonl"
"""The files of a run folder that hold the problems and the texts of its evaluations."""
TRACE = "trace.json.gz"
"""The file of a run folder that holds the trace of a step."""
FINAL_SENIOR, CHECKPOINT_SENIORS, BEST_SENIORS = "senior", "seniors", "best"
"""The folders of a run folder that hold the final senior, those of checkpoints, and those that `eval.select` keeps."""
CHECKPOINTS, SAVED_ROLLOUTS, EVALUATIONS = "checkpoints", "rollouts", "evaluation"
"""The folders of a run folder that hold its checkpoints, its saved rollouts, and the evaluations of launch/evaluate.py."""
LOGS, TENSORBOARD = "logs", "tensorboard"
"""The folders of a run folder that hold the logs of processes, and TensorBoard's events."""
RESULT, PROBLEMS = "result.json", "problems.jsonl"
"""The files of an evaluation's folder that hold the scores, and each problem's part in them."""
STOPPED_EARLY = "run/stopped_early"
"""The metric that marks the last step of a run that ended early (`stop.metric`)."""


def is_metrics(row: dict[str, Any]) -> bool:
    """Whether all values of a row are numbers or None, as in metrics.jsonl."""
    return all(value is None or isinstance(value, int | float) for value in row.values())


def is_sample(row: dict[str, Any]) -> bool:
    """Whether a row has the required fields of samples.jsonl."""
    if not row.keys() >= SAMPLE or not isinstance(row["turns"], list):
        return False
    return all(isinstance(turn, dict) and turn.keys() >= TURN for turn in row["turns"])


@dataclass(frozen=True)
class RunRecord:
    """One run: its configuration by dotted key, its metrics in step order, its samples."""

    path: Path
    config: dict[str, Any]
    metrics: list[dict[str, float]]
    samples: list[Transcript]

    @property
    def name(self) -> str:
        """The run folder's name."""
        return self.path.name


def read_run(folder: Path) -> RunRecord:
    """Return the record of the run in `folder`. Raises `ConfigError` if there is none."""
    check_run(folder)
    rows = {row["step"]: row for row in LogReader(folder / METRICS, is_metrics).new()}
    samples = {(sample["step"], sample["id"]): sample for sample in LogReader(folder / SAMPLES, is_sample).new()}
    return RunRecord(folder, read_config(folder), [rows[step] for step in sorted(rows)], list(samples.values()))


def read_finished_metrics(folder: Path, steps: int) -> list[dict[str, float]]:
    """Return the metrics of a finished run of `steps` steps, those without a number left out.

    Raises `ConfigError` for a file without its last step.
    """
    rows = list(LogReader(folder / METRICS, is_metrics).new())
    if not rows or (rows[-1]["step"] < steps and STOPPED_EARLY not in rows[-1]):
        raise ConfigError(f"{folder / METRICS}: the last steps of the finished run are missing; {RESTORE}")
    return [{key: value for key, value in row.items() if value is not None} for row in rows]


def best_senior(folder: Path) -> Path | None:
    """Return the best senior that the run in `folder` keeps for `eval.select`, which is the last one; None without one."""
    return next(reversed(step_folders(folder / BEST_SENIORS).values()), None)


def values_by_step(rows: Iterable[Mapping[str, float]], metric: str) -> dict[int, float]:
    """Return the values of `metric` in rows of metrics, by step; a step that did not log it, or no number, has none."""
    return {int(row["step"]): value for row in rows if (value := row.get(metric)) is not None}


def is_run(folder: Path) -> bool:
    """Whether `folder` holds a run."""
    return (folder / METRICS).is_file()


def check_run(folder: Path) -> None:
    """Raise `ConfigError` unless `folder` holds a run."""
    if not is_run(folder):
        raise ConfigError(f"{folder}: not a run folder, because it has no {METRICS}; name one, such as runs/NAME")


def read_config(folder: Path) -> dict[str, Any]:
    """Return the run's configuration by dotted key. Raises `ConfigError` when its file is missing or damaged."""
    path = folder / CONFIG
    settings = saved_settings(path)
    if not isinstance(settings.get("steps"), int) or not isinstance(settings.get("junior", []), list):
        raise ConfigError(f"{path}: it has no settings of a run; {RESTORE}")
    return dict(_dotted(settings, ""))


def saved_settings(path: Path) -> dict[str, Any]:
    """Return the settings that a run has saved in the file `path`. Raises `ConfigError` when it is missing or damaged."""
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        raise ConfigError(f"{path}: it cannot be read ({' '.join(reason(error).split())}); {RESTORE}") from error
    if not isinstance(settings, dict):
        raise ConfigError(f"{path}: it holds no settings by key; {RESTORE}")
    return settings


def saved_config(path: Path) -> Config:
    """Return the configuration that a run has saved in the file `path`. Raises `ConfigError` when it is missing or damaged."""
    try:
        return typed(OmegaConf.create(saved_settings(path)))
    except (ConfigError, OmegaConfBaseException) as error:
        message = " ".join(str(error).split())
        raise ConfigError(message if message.startswith(str(path)) else f"{path}: {message}; {RESTORE}") from error


def write_config(config: Config, folder: Path) -> None:
    """Write the configuration of the run in `folder`, with the name of the folder if `config` has none."""
    settings = asdict(config) | {"name": config.name or folder.name}
    (folder / CONFIG).write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")


def _dotted(node: Any, key: str) -> Iterator[tuple[str, Any]]:
    if not isinstance(node, dict):
        yield key, node
        return
    for name, value in node.items():
        yield from _dotted(value, f"{key}.{name}" if key else str(name))
