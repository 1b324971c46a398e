"""Wait for a condition."""

from __future__ import annotations

import time
from collections.abc import Callable


def wait_until(holds: Callable[[], bool], timeout_s: float = 60.0) -> None:
    """Wait until `holds()` is true. Raises `TimeoutError` after `timeout_s`, which a busy machine does not reach."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.02)
