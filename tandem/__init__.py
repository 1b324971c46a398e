"""Tandem reinforcement learning: the method, in plain Python and torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tandem.records.loaded_run import LoadedRun


def load_run(path: Path | str) -> LoadedRun:
    """Return the run in a run folder: configuration, metrics, samples and evaluations as pandas frames.

    Raises `ConfigError` if there is none.
    """
    from tandem.records.loaded_run import LoadedRun

    return LoadedRun(path)
