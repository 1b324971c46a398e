"""The results of the stages, in a file that a later call continues."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tandem.config.schema import ConfigError
from tandem.records.json_files import read_json

if TYPE_CHECKING:
    from launch.gpu_stages.stages import Stage

PASSED, SKIPPED, FAILED = "passed", "skipped", "failed"
Figures = dict[str, float | int | str]


@dataclass(frozen=True)
class StageResult:
    """The result of a stage."""

    status: str
    """`passed`, `skipped` or `failed`"""
    why: str = ""
    """why it was skipped or failed"""
    seconds: float = 0.0
    figures: Figures = field(default_factory=dict)


class StageResults:
    """The results in `folder`, by stage, of the machine that `facts` describe."""

    def __init__(self, folder: Path, facts: dict[str, str], stages: dict[str, StageResult] | None = None) -> None:
        self.folder, self.facts, self.stages = folder, facts, stages or {}

    @classmethod
    def read(cls, folder: Path, facts: dict[str, str]) -> StageResults:
        """Return the results in `folder`; none if there are none or they are of another machine or other packages.

        Raises `ConfigError` for a damaged file.
        """
        file = folder / "results.json"
        saved: dict[str, Any] = read_json(file) if file.exists() else {}
        if saved.get("machine") != facts:
            return cls(folder, facts)
        try:
            return cls(folder, facts, {name: StageResult(**result) for name, result in saved["stages"].items()})
        except (AttributeError, KeyError, TypeError) as error:
            raise ConfigError(f"{file}: these are not the results of gpu_check.py; remove the file") from error

    def passed(self, name: str) -> bool:
        """Whether the stage `name` has passed."""
        return name in self.stages and self.stages[name].status == PASSED

    def failed(self, stages: Iterable[Stage]) -> bool:
        """Whether one of `stages` has failed."""
        return any(self.stages[stage.name].status == FAILED for stage in stages)

    def as_dict(self) -> dict[str, Any]:
        """Return all results as one JSON object."""
        return {"machine": self.facts, "stages": {name: asdict(result) for name, result in self.stages.items()}}

    def write(self) -> None:
        """Write the file."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "results.json").write_text(json.dumps(self.as_dict(), indent=1) + "\n", encoding="utf-8")
