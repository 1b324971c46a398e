"""What a run keeps outside of its folder, locked while the run lives: whoever comes later can tell what a dead run left behind.

The kernel lets go of a lock when its holder dies, however it dies. Folders and files appear under their name only once they are
locked.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from tandem.runtime.processes import end

PREFIX = "tandem-run-"
"""What the names of claimed files begin with."""
FOLDER_PREFIX = "tandem-"
"""Folders have short names, for Ray's sockets lie deep in them."""
SEGMENT = ".weights"
"""The suffix of files with weights in shared memory."""
LOCK = "lock"
"""The file in a claimed folder that is locked."""


def remove_abandoned(folder: Path, suffix: str) -> None:
    """Remove the claimed files in `folder` that runs that died have left."""
    for left in folder.glob(f"{PREFIX}*{suffix}"):
        if abandoned(left):
            left.unlink(missing_ok=True)


@contextmanager
def claimed_file(folder: Path, suffix: str) -> Iterator[Path]:
    """The path of a file of this run's own in `folder`, empty at first, and removed after the block.

    Removes what runs that died have left there.
    """
    remove_abandoned(folder, suffix)
    path = folder / f"{PREFIX}{uuid.uuid4().hex}{suffix}"
    hidden = path.with_name(f".{path.name}")
    with _locked(hidden):
        hidden.rename(path)
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)


@contextmanager
def claimed_folder(base: Path) -> Iterator[Path]:
    """A folder of this run's own in `base`, removed after the block.

    Removes the folders that runs that died have left there, and ends those of their processes that are left.
    """
    for left in base.glob(f"{FOLDER_PREFIX}*/{LOCK}"):
        if abandoned(left):
            end(_processes_in(left.parent))
            shutil.rmtree(left.parent, ignore_errors=True)
    hidden = Path(tempfile.mkdtemp(prefix=f".{FOLDER_PREFIX}", dir=base))
    with _locked(hidden / LOCK):
        folder = hidden.rename(hidden.with_name(hidden.name.removeprefix(".")))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)  # no process that this one starts inherits it
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def abandoned(path: Path) -> bool:
    """Whether nobody holds the lock on `path`; False for what belongs to another user or is gone."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except (FileNotFoundError, PermissionError):
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


def _processes_in(folder: Path) -> list[psutil.Process]:
    """The processes whose temporary folder is `folder`: what a run has started."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("TMPDIR") == str(folder):
                found.append(process)
        except (psutil.AccessDenied, psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
    return found
