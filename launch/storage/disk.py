"""What becomes of a run's results where the disk refuses them: wait for room, and say what is wrong without a traceback."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from tandem.runtime.disk import disk_full

T = TypeVar("T")
RETRY_S = 2.0
"""How often a write that found a full disk is tried again."""


class UnwritableError(RuntimeError):
    """What a run leaves cannot be written, and the run ends; the message says what, where and what to do."""


def wait_for_room(write: Callable[[], T], place: Path, what: str, wait_s: float, print_line: Callable[[str], None]) -> T:
    """Return what `write` returns, which writes `what` to `place`; call it again while the disk is full, for `wait_s` at most.

    Raises the `OSError` of the last call, or at once one that has another cause than a full disk.
    """
    deadline = time.monotonic() + wait_s
    told = False
    while True:
        try:
            return write()
        except OSError as error:
            left = deadline - time.monotonic()
            if not disk_full(error) or left <= 0:
                raise
            if not told:
                print_line(f"WARNING: {what} cannot be written to {place}: {error}. Make room: this is tried for {wait_s:g} s")
            told = True
            time.sleep(min(RETRY_S, left))
