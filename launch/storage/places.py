"""The locations of run folders, and checks that they can be written before the run starts."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

from launch.cluster.environment import in_submitted_job
from tandem.config.schema import Config, ConfigError
from tandem.runtime.disk import reason, unwritable

LONGEST_PART = 255
"""Bytes of one part of a path, on the file systems of Linux."""


def runs_folder(config: Config) -> Path:
    """Return the folder of run folders; in a submitted job relative to the home folder, since Ray removes the job's folder.

    Raises `ConfigError` for a `log.dir` that is no path.
    """
    base = Path.home() if in_submitted_job() else Path()
    try:
        return (base / config.log.dir).resolve()
    except (OSError, RuntimeError) as error:  # a loop of links
        raise ConfigError(f"log.dir={config.log.dir}: {reason(error)}; name another folder") from error


def dated_name(kind: str) -> str:
    """Return the default name of a folder of this `kind`: the date and time, and the kind."""
    return f"{datetime.now():%Y%m%d-%H%M%S}-{kind}"


def named_folder(config: Config, name: str) -> Path:
    """Return the folder `name` in the folder of runs, as `folder_within` does. Raises `ConfigError` for a bad `log.dir` too."""
    return folder_within(runs_folder(config), name, f"log.dir={config.log.dir}")


def folder_within(above: Path, name: str, key: str) -> Path:
    """Return the folder `name` in `above`, which must be creatable and writable.

    `key` is the key that names `above`, with its value. Raises `ConfigError` for a name that is invalid or leads out of
    `above`, and for a folder that cannot be written.
    """
    check_writable(above, key)
    parts = Path(name).parts
    if not parts or name.startswith("/") or ".." in parts:
        raise ConfigError(f"name={name}: it must name a folder in {above} ({key}), without .. and without a leading /")
    if any(len(os.fsencode(part)) > LONGEST_PART for part in parts):
        raise ConfigError(f"name={name}: a folder's name has at most {LONGEST_PART} bytes; give a shorter one")
    check_writable(above / name, f"name={name}")
    return above / name


def senior_fallback(config: Config) -> Path:
    """Return the folder for the final senior if it cannot be written to the run folder."""
    return Path(config.log.export_fallback).resolve() if config.log.export_fallback else config.cache_path / "seniors"


def check_senior_fallback(config: Config) -> None:
    """Raise `ConfigError` when a final senior is exported and nothing can be written in `senior_fallback`."""
    fallback = config.log.export_fallback
    exports = config.log.export and not config.rollouts_only
    if exports and (fallback or not config.plan_only):  # a plan needs no cache folder
        key = f"log.export_fallback={fallback}" if fallback else f"cache_dir={config.cache_dir}"
        check_writable(senior_fallback(config), key)


def check_writable(folder: Path, key: str) -> None:
    """Raise `ConfigError` when `folder` cannot be created or written; create no file.

    `key` is the key that names the folder, with its value.
    """
    if why := unwritable(folder):
        raise ConfigError(f"{key}: {folder} cannot be written ({why}); name another folder")
