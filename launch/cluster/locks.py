"""Files and folders outside of the run folder, locked during the run. A later run removes those that a dead run left behind.

The kernel releases a lock when its process ends. Files and folders get their final name only once they are locked.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from tandem.runtime.locks import try_lock
from tandem.runtime.processes import end

PREFIX = "tandem-run-"
"""The prefix of claimed files."""
FOLDER_PREFIX = "tandem-"
"""The prefix of claimed folders; short, because paths of Ray's sockets in them have a limit."""
SEGMENT = ".weights"
"""The suffix of files with weights in shared memory."""
LOCK = "lock"
"""The locked file in a claimed folder."""


def remove_abandoned(folder: Path, suffix: str) -> None:
    """Remove the claimed files of dead runs in `folder`."""
    for path in folder.glob(f"{PREFIX}*{suffix}"):
        if abandoned(path):
            path.unlink(missing_ok=True)


@contextmanager
def claimed_file(folder: Path, suffix: str) -> Iterator[Path]:
    """Yield the path of a new empty file in `folder`, which is removed after the block.

    First removes the files of dead runs there.
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
    """Yield a new folder in `base`, which is removed after the block.

    First removes the folders of dead runs there, and ends their remaining processes.
    """
    for lock in base.glob(f"{FOLDER_PREFIX}*/{LOCK}"):
        if abandoned(lock):
            end(_processes_in(lock.parent))
            shutil.rmtree(lock.parent, ignore_errors=True)
    hidden = Path(tempfile.mkdtemp(prefix=f".{FOLDER_PREFIX}", dir=base))
    with _locked(hidden / LOCK):
        folder = hidden.rename(hidden.with_name(hidden.name.removeprefix(".")))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)  # not inherited by child processes
    try:
        try_lock(descriptor)  # no other process has it: the file is new and its name hidden
        yield
    finally:
        os.close(descriptor)


def abandoned(path: Path) -> bool:
    """Whether no process holds the lock on `path`; False if it belongs to another user or does not exist."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except (FileNotFoundError, PermissionError):
        return False
    try:
        return try_lock(descriptor)
    finally:
        os.close(descriptor)


def _processes_in(folder: Path) -> list[psutil.Process]:
    """Return the processes of a run, whose temporary folder is `folder`."""
    processes = []
    # Otherwise psutil returns the ended process that had the same id when this process last asked.
    psutil.process_iter.cache_clear()
    for process in psutil.process_iter():
        try:
            if process.environ().get("TMPDIR") == str(folder):
                processes.append(process)
        except (psutil.AccessDenied, psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
    return processes
