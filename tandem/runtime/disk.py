"""What a disk refuses: where nothing can be written, where there is no room, and how libraries report it."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from pathlib import Path


def unwritable(folder: Path) -> str:
    """Return why nothing can be written in `folder`, or why it cannot be made; empty if it can. Leave nothing behind."""
    try:
        existing = next(place for place in (folder, *folder.parents) if os.path.lexists(place))
        os.rmdir(tempfile.mkdtemp(prefix=".tandem-", dir=existing))
    except OSError as error:
        return reason(error)
    return ""


def reason(error: Exception) -> str:
    """Return why an operation on a file failed, without its number."""
    if not isinstance(error, OSError) or not error.strerror:
        return str(error)
    return f"{error.strerror}: {error.filename}" if error.filename else error.strerror


def disk_full(error: OSError) -> bool:
    """Whether the disk, or the user's share of it, has no room left."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def disk_failure(error: BaseException) -> OSError | None:
    """Return what the disk refused, where a library raises an error of its own for it; None where `error` is something else."""
    if isinstance(error, OSError):
        return error
    if isinstance(error.__context__, OSError):
        return error.__context__
    full = os.strerror(errno.ENOSPC)
    return OSError(errno.ENOSPC, full) if full in str(error) else None


def require_room(folder: Path, nbytes: int) -> None:
    """Raise `OSError` as a full disk does, saying how much is missing, when `folder` has no room for `nbytes`."""
    if (free := shutil.disk_usage(folder).free) < nbytes:
        mib = [f"{size / 2**20:,.1f} MiB" for size in (nbytes, free, nbytes - free)]
        raise OSError(errno.ENOSPC, "{} are needed and {} are free: {} are missing".format(*mib))
