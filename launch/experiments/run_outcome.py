"""A run of a sweep or an experiment, and its outcome, saved in its run folder."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from tandem.config.schema import Config
from tandem.records.json_files import read_as
from tandem.runtime.exit_status import describe_exit

FINISHED, FAILED, INTERRUPTED, WAITING = "finished", "failed", "interrupted", "not run"
"""The states of a run."""
OUTPUT = "output.log"
"""The output of the run's process."""
_FILE = "outcome.json"
_TRACEBACK = "Traceback (most recent call last):"


@dataclass(frozen=True)
class Run:
    """One run of launch/train.py among several."""

    config: Config
    """`name` and `log.dir` name the run folder"""

    @property
    def path(self) -> Path:
        """The run folder."""
        return Path(self.config.log.dir) / self.config.name

    @property
    def finished(self) -> bool:
        """Whether an attempt has completed all steps."""
        outcome = read_outcome(self.path)
        return outcome is not None and outcome.state == FINISHED and outcome.steps >= self.config.steps

    def seconds_since(self, start: float) -> float:
        """Return the wall time of all attempts, the last of which began at `start` (`time.monotonic()`)."""
        earlier = read_outcome(self.path)
        return time.monotonic() - start + (earlier.seconds if earlier else 0)


@dataclass(frozen=True)
class RunOutcome:
    """How a run ended."""

    state: str
    exit_code: int
    """negative for the signal that killed it"""
    seconds: float
    """wall time of all attempts"""
    steps: int
    """the configured number of steps"""
    error: str = ""
    """the error that ended it; empty if none did"""

    def write(self, folder: Path) -> None:
        """Write the outcome to the run folder."""
        (folder / _FILE).write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")


def read_outcome(folder: Path) -> RunOutcome | None:
    """Return the outcome in the run folder; None if no attempt has ended yet. Raises `ConfigError` for a damaged file."""
    file = folder / _FILE
    return read_as(RunOutcome, file, "remove it, and the run is resumed") if file.exists() else None


def error_of(printed: str, exit_code: int) -> str:
    """Return the error that ended a process: that of the last traceback in its output `printed`, else the last line."""
    lines = [line for line in printed.splitlines() if line.strip()]
    tracebacks = [number for number, line in enumerate(lines) if line.strip() == _TRACEBACK]
    after = lines[tracebacks[-1] + 1 :] if tracebacks else lines[-1:]
    message = next((line for line in after if not line.startswith(" ")), "").strip()
    if exit_code >= 0:
        return message or describe_exit(exit_code)
    return describe_exit(exit_code) + (f"; last printed: {message}" if message else "")
