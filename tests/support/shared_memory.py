"""Find the files that runs leave in shared memory."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import psutil

from launch.cluster.locks import PREFIX, abandoned
from tandem.runtime.segment import SHARED_MEMORY


def abandoned_files() -> list[Path]:
    """Return the files of dead runs."""
    return [path for path in Path(SHARED_MEMORY).glob(f"{PREFIX}*") if abandoned(path)]


def mapped_files(processes: Iterable[psutil.Process]) -> set[Path]:
    """Return the files in shared memory that `processes` have mapped."""
    paths: set[str] = set()
    for process in processes:
        with suppress(psutil.Error):
            paths |= {each.path for each in process.memory_maps()}
    return {path for path in map(Path, paths) if path.is_relative_to(SHARED_MEMORY) and path.exists()}
