"""The one process that may write to a folder or a file: a lock that ends with the process, and a note of who holds it.

The kernel releases a lock when its holder dies, however it dies, so that a run that was killed can be resumed at once. The note
names the holder to others. On a file system without locks, or whose locks do not reach other hosts, the note is all there is:
a process of this host that it names is refused while it runs, and `held` yields whom it names on another host, if that owner
did not end in order.
"""

from __future__ import annotations

import fcntl
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

OWNER = "owner.json"
SINCE = "%Y-%m-%d %H:%M:%S"
"""How `Owner.since` is written."""
ROUNDING_S = 1.0
"""By how much `Owner.since` may be too early: it has no fractions of seconds."""
ATTEMPTS, PAUSE_S = 5, 0.1
"""How often a lock is tried: whoever only looks at it holds it for a moment too."""


@dataclass(frozen=True)
class Owner:
    """A process that holds a folder."""

    host: str
    pid: int
    since: str

    def runs_here(self) -> bool:
        """Whether it still runs, on this host. A process that began after `since` has only the same number."""
        if self.host != socket.gethostname():
            return False
        try:
            began = psutil.Process(self.pid).create_time()
            return began < datetime.strptime(self.since, SINCE).timestamp() + ROUNDING_S
        except (psutil.NoSuchProcess, ValueError, TypeError):
            return False

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
    try:
        descriptor = os.open(note, os.O_RDWR | os.O_CREAT, 0o666)  # no process that this one starts inherits it
    except OSError as error:
        raise ConfigError(_not_ours(note, key, error)) from error
    try:
        if not _lock(descriptor, note):
            raise ConfigError(_refusal(note, what, key))
        before, own = _read(note), Owner(socket.gethostname(), os.getpid(), f"{datetime.now():{SINCE}}")
        _write(descriptor, json.dumps(asdict(own)) + "\n")
        try:
            yield before if before and before.host != own.host else None
        finally:
            _write(descriptor, "")
    finally:
        os.close(descriptor)


def check_free(folder: Path, key: str) -> None:
    """Raise `ConfigError` when another process holds `folder`, as `owned` does."""
    note = folder / OWNER
    try:
        descriptor = os.open(note, os.O_RDWR)
    except (FileNotFoundError, NotADirectoryError):  # not held yet; what is wrong with the folder is reported elsewhere
        return
    except OSError as error:
        raise ConfigError(_not_ours(note, key, error)) from error
    try:
        if not _lock(descriptor, note):
            raise ConfigError(_refusal(note, folder, key))
    finally:
        os.close(descriptor)


def _lock(descriptor: int, note: Path) -> bool:
    """Lock the open file `note` and return whether that succeeded; on a file system without locks, whether no process of this
    host that it names still runs."""
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(PAUSE_S)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        except OSError:
            owner = _read(note)
            return owner is None or not owner.runs_here()
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


def _not_ours(note: Path, key: str, error: OSError) -> str:
    return (
        f"{key}: {note} names the process that writes to that folder, and cannot be opened ({reason(error)}); choose another "
        f"name, or have its owner allow you to write it (chmod a+rw {shlex.quote(str(note))})"
    )


def _refusal(note: Path, what: Path, key: str) -> str:
    owner = _read(note)
    stop = f"end it (kill {owner.pid}, on that host)" if owner else "end it"
    return f"{key}: {what} is in use by {owner or 'another process'}; wait until that ends, or {stop}, or choose another name"
