"""The exit codes of all programs."""

from __future__ import annotations

import signal

FAILED = 1
"""The exit code of a run that cannot continue, and of a program whose output nobody reads any more, as after `head`."""
BAD_INPUT = 2
"""The exit code for a configuration or data that cannot be used."""
UNWRITABLE = 3
"""The exit code of a run whose results the disk refuses."""
INTERRUPTED = 130
"""The exit code after Ctrl-C."""
TERMINATED = 143
"""The exit code after SIGTERM."""


def describe_exit(code: int) -> str:
    """Return how a process ended, from its exit code, which is negative after a signal."""
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
