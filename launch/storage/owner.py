"""The one process that may write to a folder or a file: a lock that ends with the process, and a note of who holds it.

The kernel releases a lock when its holder dies, however it dies, so that a run that was killed can be resumed at once. The note
names the holder to others. On a file system whose locks do not reach other hosts the note is all there is: `held` yields whom
it names on another host, if that owner did not end in order.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from tandem.config.schema import ConfigError

OWNER = "owner.json"
ATTEMPTS, PAUSE_S = 5, 0.1
"""How often a lock is tried: whoever only looks at it holds it for a moment too."""


@dataclass(frozen=True)
class Owner:
    """A process that holds a folder."""

    host: str
    pid: int
    since: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {self.since}"


@contextmanager
def owned(folder: Path, key: str) -> Iterator[Owner | None]:
    """Hold `folder`, which is made if it does not exist, while the block runs, as `held` does."""
    folder.mkdir(parents=True, exist_ok=True)
    with held(folder / OWNER, folder, key) as before:
        yield before


@contextmanager
def held(note: Path, what: Path, key: str) -> Iterator[Owner | None]:
    """Hold `what` by a lock on the file `note`, which says so, while the block runs.

    Yields the owner before, if it was on another host and has not ended in order. Raises `ConfigError` when another process
    holds it; `key` is the key that names it, with its value.
    """
    descriptor = os.open(note, os.O_RDWR | os.O_CREAT, 0o666)  # no process that this one starts inherits it
    try:
        if not _lock(descriptor):
            raise ConfigError(_refusal(note, what, key))
        before, own = _read(note), Owner(socket.gethostname(), os.getpid(), f"{datetime.now():%Y-%m-%d %H:%M:%S}")
        _write(descriptor, json.dumps(asdict(own)) + "\n")
        try:
            yield before if before and before.host != own.host else None
        finally:
            _write(descriptor, "")
    finally:
        os.close(descriptor)


def check_free(folder: Path, key: str) -> None:
    """Raise `ConfigError` when another process holds `folder`, as `owned` does."""
    try:
        descriptor = os.open(folder / OWNER, os.O_RDWR)
    except OSError:  # not held yet; what is wrong with the folder is reported elsewhere
        return
    try:
        if not _lock(descriptor):
            raise ConfigError(_refusal(folder / OWNER, folder, key))
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> bool:
    """Lock an open file and return whether that succeeded; always true on a file system without locks."""
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(PAUSE_S)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        except OSError:
            return True
        return True
    return False


def _write(descriptor: int, text: str) -> None:
    """Write who holds the folder."""
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, text.encode(), 0)
    except OSError:  # a full disk: the lock holds without a note
        return


def _read(note: Path) -> Owner | None:
    """Return whom the note names."""
    try:
        return Owner(**json.loads(note.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _refusal(note: Path, what: Path, key: str) -> str:
    owner = _read(note)
    stop = f"end it (kill {owner.pid}, on that host)" if owner else "end it"
    return f"{key}: {what} is in use by {owner or 'another process'}; wait until that ends, or {stop}, or choose another name"
