"""What a run folder says of its run, whether it is finished or still written to."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from launch.storage.transcript import Transcript
from tandem.config.schema import ConfigError


class JsonLines:
    """A file of JSON lines that may still grow.

    Infinities and NaN, which are no JSON but which Python writes, are read as None.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._read = path, 0

    def new(self) -> Iterator[dict[str, Any]]:
        """The lines that were finished since they were last asked for; all again when the file was begun anew."""
        if not self._path.exists():
            return
        if self._path.stat().st_size < self._read:
            self._read = 0
        with self._path.open("rb") as file:
            file.seek(self._read)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                self._read += len(line)
                yield json.loads(line, parse_constant=lambda _: None)


@dataclass(frozen=True)
class RunRecord:
    """One run: its configuration by dotted key, its rows of metrics in the order of their steps, the rollouts it kept."""

    path: Path
    config: dict[str, Any]
    metrics: list[dict[str, float]]
    samples: list[Transcript]

    @property
    def name(self) -> str:
        """The run folder's name."""
        return self.path.name


def read_run(folder: Path) -> RunRecord:
    """Reads a run folder. Raises `ConfigError` when `folder` is none."""
    if not is_run(folder):
        raise ConfigError(f"{folder}: no run folder, since it has no metrics.jsonl; name one, such as runs/NAME")
    rows = {row["step"]: row for row in JsonLines(folder / "metrics.jsonl").new()}
    samples = {(sample["step"], sample["id"]): sample for sample in JsonLines(folder / "samples.jsonl").new()}
    return RunRecord(folder, read_config(folder), [rows[step] for step in sorted(rows)], list(samples.values()))


def is_run(folder: Path) -> bool:
    """Whether `folder` holds a run."""
    return (folder / "metrics.jsonl").is_file()


def read_config(folder: Path) -> dict[str, Any]:
    """The run's configuration by dotted key."""
    return dict(_dotted(yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8")), ""))


def _dotted(node: Any, key: str) -> Iterator[tuple[str, Any]]:
    if not isinstance(node, dict):
        yield key, node
        return
    for name, value in node.items():
        yield from _dotted(value, f"{key}.{name}" if key else str(name))
