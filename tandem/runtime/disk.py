"""Errors of disks: folders that cannot be written, full disks, and how libraries report them."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def unwritable(folder: Path) -> str:
    """Return why `folder` cannot be written or created; empty if it can. Create nothing."""
    try:
        existing = next(place for place in (folder, *folder.parents) if _exists(place))
        os.rmdir(tempfile.mkdtemp(prefix=".tandem-", dir=existing))
    except OSError as error:
        return reason(error)
    return ""


def _exists(path: Path) -> bool:
    """Whether there is something at `path`. Raises `OSError` if the system cannot look it up."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def unreachable(path: str) -> str:
    """Return why the system cannot look up `path`; empty if it can, even if nothing is there."""
    try:
        os.stat(path)
    except OSError as error:
        known = error.errno in (errno.ENOENT, errno.ENOTDIR)
        return "" if known else error.strerror or str(error)
    return ""


def reason(error: Exception) -> str:
    """Return the reason of a failed file operation, without the error number."""
    if not isinstance(error, OSError) or not error.strerror:
        return str(error)
    return f"{error.strerror}: {error.filename}" if error.filename else error.strerror


def disk_full(error: OSError) -> bool:
    """Whether the disk, or the user's share of it, has no room left."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def tolerate_full_disk(warn: Callable[[OSError], None] = lambda error: None) -> Iterator[None]:
    """Run the block; if the disk gets full, call `warn` with the error instead of raising it."""
    try:
        yield
    except OSError as error:
        if not disk_full(error):
            raise
        warn(error)


def disk_failure(error: BaseException) -> OSError | None:
    """Return the disk's error behind `error`, which a library may have replaced by its own; None if there is none."""
    if isinstance(error, OSError):
        return error
    if isinstance(error.__context__, OSError):
        return error.__context__
    full = os.strerror(errno.ENOSPC)
    return OSError(errno.ENOSPC, full) if full in str(error) else None


def require_room(folder: Path, nbytes: int) -> None:
    """Raise the `OSError` of a full disk, with the missing size, if `folder` has no room for `nbytes`."""
    if (free := shutil.disk_usage(folder).free) < nbytes:
        mib = [f"{size / 2**20:,.1f} MiB" for size in (nbytes, free, nbytes - free)]
        raise OSError(errno.ENOSPC, "{} are needed and {} are free: {} are missing".format(*mib))
