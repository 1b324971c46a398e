"""Writes to a full disk: wait for room, and report what cannot be written without a traceback."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from tandem.runtime.disk import disk_full

T = TypeVar("T")
RETRY_S = 2.0
"""Seconds between attempts to write to a full disk."""


class UnwritableError(RuntimeError):
    """An error that ends the run because its files cannot be written; the message names file, folder and remedy."""


def wait_for_room(write: Callable[[], T], place: Path, what: str, wait_s: float, print_line: Callable[[str], None]) -> T:
    """Return the result of `write`, which writes `what` to `place`; call it again while the disk is full, for at most `wait_s`.

    Raises the `OSError` of the last call, and at once an `OSError` with another cause than a full disk.
    """
    deadline = time.monotonic() + wait_s
    warned = False
    while True:
        try:
            return write()
        except OSError as error:
            left = deadline - time.monotonic()
            if not disk_full(error) or left <= 0:
                raise
            if not warned:
                print_line(f"WARNING: {what} cannot be written to {place}: {error}. Free space: retrying for {wait_s:g} s")
            warned = True
            time.sleep(min(RETRY_S, left))
