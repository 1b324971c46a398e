"""What came of one run of a sweep, as its folder keeps it."""

from __future__ import annotations

import json
import signal
from dataclasses import asdict, dataclass
from pathlib import Path

from launch.storage.run_record import read_json
from tandem.config.schema import ConfigError

FINISHED, FAILED, INTERRUPTED, WAITING = "finished", "failed", "interrupted", "not run"
"""States of a run."""
OUTPUT = "output.log"
"""What the run's process printed."""
_FILE = "outcome.json"
_TRACEBACK = "Traceback (most recent call last):"


@dataclass(frozen=True)
class Outcome:
    """How a run's process ended."""

    state: str
    exit_code: int
    """negative: the signal that killed it"""
    seconds: float
    """how long it ran, those before that went on later included"""
    steps: int
    """those it was to do"""
    error: str = ""
    """what stopped it, if that was an error"""

    def write(self, folder: Path) -> None:
        """Keeps it in the run folder."""
        (folder / _FILE).write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")


def read_outcome(folder: Path) -> Outcome | None:
    """Return what the run folder keeps; None where no process has ended yet. Raises `ConfigError` for a damaged file."""
    file = folder / _FILE
    try:
        return Outcome(**read_json(file)) if file.exists() else None
    except TypeError as error:
        raise ConfigError(f"{file}: it does not say how a run ended; remove it, and the run goes on") from error


def error_of(printed: str, exit_code: int) -> str:
    """What stopped a process that printed this: the error of its last traceback, else its last line."""
    lines = [line for line in printed.splitlines() if line.strip()]
    tracebacks = [number for number, line in enumerate(lines) if line.strip() == _TRACEBACK]
    after = lines[tracebacks[-1] + 1 :] if tracebacks else lines[-1:]
    told = next((line for line in after if not line.startswith(" ")), "").strip()
    if exit_code >= 0:
        return told or f"exit code {exit_code}"
    return f"killed by {signal.Signals(-exit_code).name}" + (f"; last printed: {told}" if told else "")
