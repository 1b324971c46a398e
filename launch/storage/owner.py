"""Exclusive write access to a folder or file: a lock that ends with its process, and a note that names the process.

The kernel releases a lock when its process ends, so that a killed run can be resumed at once. The note names the owner in error
messages. On a file system without locks, or without locks between hosts, the note replaces the lock: access is refused while an
owner on this host runs, and `held` yields an owner on another host that did not exit normally.
"""

from __future__ import annotations

import json
import os
import shlex
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

import psutil

from tandem.config.schema import ConfigError
from tandem.runtime.disk import reason
from tandem.runtime.locks import try_lock

OWNER = "owner.json"
SINCE = "%Y-%m-%d %H:%M:%S"
"""The format of `Owner.since`."""
ROUNDING_S = 1.0
"""The rounding error of `Owner.since`, which has no fractions of seconds."""
ATTEMPTS, PAUSE_S = 5, 0.1
"""Attempts to lock, and the pause between them: a process that checks the lock also holds it briefly."""


@dataclass(frozen=True)
class Owner:
    """A process that holds a folder."""

    host: str
    pid: int
    since: str

    def runs_here(self) -> bool:
        """Whether the process still runs on this host. A process that started after `since` has reused the id."""
        if self.host != socket.gethostname():
            return False
        try:
            started = psutil.Process(self.pid).create_time()
            return started < datetime.strptime(self.since, SINCE).timestamp() + ROUNDING_S
        except (psutil.NoSuchProcess, ValueError, TypeError):
            return False

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {self.since}"


@contextmanager
def owned(folder: Path, key: str) -> Iterator[Owner | None]:
    """Hold `folder` during the block, as `held` does; create it if it does not exist."""
    folder.mkdir(parents=True, exist_ok=True)
    with held(folder / OWNER, folder, key) as before:
        yield before


@contextmanager
def held(note: Path, what: Path, key: str) -> Iterator[Owner | None]:
    """Hold `what` during the block by a lock on the file `note`, which then names this process.

    Yields the previous owner if it was on another host and did not exit normally. Raises `ConfigError` when another process
    holds `what`; `key` is the key that names it, with its value.
    """
    try:
        descriptor = os.open(note, os.O_RDWR | os.O_CREAT, 0o666)  # not inherited by child processes
    except OSError as error:
        raise ConfigError(_not_ours(note, key, error)) from error
    try:
        if not _lock(descriptor, note):
            raise ConfigError(_refusal(note, what, key))
        previous, owner = _read(note), Owner(socket.gethostname(), os.getpid(), f"{datetime.now():{SINCE}}")
        _write(descriptor, json.dumps(asdict(owner)) + "\n")
        try:
            yield previous if previous and previous.host != owner.host else None
        finally:
            _write(descriptor, "")
    finally:
        os.close(descriptor)


def check_free(folder: Path, key: str) -> None:
    """Raise `ConfigError` when another process holds `folder`, as `owned` does."""
    note = folder / OWNER
    try:
        descriptor = os.open(note, os.O_RDWR)
    except (FileNotFoundError, NotADirectoryError):  # not held; other checks report problems of the folder
        return
    except OSError as error:
        raise ConfigError(_not_ours(note, key, error)) from error
    try:
        if not _lock(descriptor, note):
            raise ConfigError(_refusal(note, folder, key))
    finally:
        os.close(descriptor)


def _lock(descriptor: int, note: Path) -> bool:
    """Lock the open file `note` and return whether that succeeded.

    Without locks in the file system, return whether no owner runs on this host.
    """
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(PAUSE_S)
        try:
            if try_lock(descriptor):
                return True
        except OSError:
            owner = _read(note)
            return owner is None or not owner.runs_here()
    return False


def _write(descriptor: int, text: str) -> None:
    """Replace the content of the note."""
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, text.encode(), 0)
    except OSError:  # on a full disk the lock works without a note
        return


def _read(note: Path) -> Owner | None:
    """Return the owner in the note; None if there is none."""
    try:
        return Owner(**json.loads(note.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _not_ours(note: Path, key: str, error: OSError) -> str:
    return (
        f"{key}: {note} names the process that writes to that folder, and cannot be opened ({reason(error)}); choose another "
        f"name, or have its owner allow you to write it (chmod a+rw {shlex.quote(str(note))})"
    )


def _refusal(note: Path, what: Path, key: str) -> str:
    owner = _read(note)
    stop = f"end it (kill {owner.pid}, on that host)" if owner else "end it"
    return f"{key}: {what} is in use by {owner or 'another process'}; wait until that ends, or {stop}, or choose another name"
