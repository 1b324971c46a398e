"""The cache of models that are built once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from tandem.config.schema import ConfigError
from tandem.runtime.atomic_dir import written_aside


def build_once(directory: Path, build: Callable[[Path], None], what: str) -> Path:
    """Return `directory` after `build` has made it, unless it exists. Print that `what` is being made.

    `build` writes to a sibling folder that is renamed when it is complete. A lock lets one process build while others wait. No
    process reads an incomplete model or builds a model twice. Raises `ConfigError` when the parent folder cannot be made.
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
            print(f"Making {what}, once; it is kept in {directory}", flush=True)
            with written_aside(directory) as unfinished:
                build(unfinished)
    return directory
