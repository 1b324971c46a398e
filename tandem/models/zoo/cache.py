"""Models that are made once and kept."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from tandem.config.schema import ConfigError
from tandem.runtime.permissions import respect_umask


def build_once(directory: Path, build: Callable[[Path], None], what: str) -> Path:
    """`directory`, made by `build` if it does not exist. Raises `ConfigError` where the folder that it lies in cannot be made.

    `build` writes to a sibling that is renamed when it is complete, and a lock lets one process build while others wait: nobody
    ever reads a half-written model or makes it twice. The terminal is told that `what` is being made.
    """
    if directory.is_dir():
        return directory
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"cache_dir: {directory.parent} cannot be made ({error.strerror}); name a folder that can be written, by cache_dir "
            "or the environment variable TANDEM_CACHE"
        ) from error
    with FileLock(directory.with_name(f"{directory.name}.lock")):
        if not directory.is_dir():
            unfinished = directory.with_name(f"{directory.name}.unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir()
            print(f"Making {what}, once; it is kept in {directory}", flush=True)
            build(unfinished)
            respect_umask(unfinished)
            unfinished.rename(directory)
    return directory
