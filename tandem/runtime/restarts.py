"""The budget of restarts: how often the parts of a run may fail before the run stops."""

from __future__ import annotations

import re
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from textwrap import shorten
from typing import Self

from tandem.config.run import GuardConfig
from tandem.guards import GuardError

HOUR_S = 3600.0
WIDTH = 400
"""Longest reason that is printed, in characters."""
_ADVICE = "Refer to the documentation"
"""Ray's last line where it killed a process because its node ran out of memory"""
_NEVER_RAN = "The actor never ran"
"""what Ray adds to the reason for which an actor could not start"""
_VARIABLE = re.compile(r"\S*\d\S*")
"""Words of a reason that differ between two failures of the same kind: ids, counts, addresses."""


def print_error(message: str) -> None:
    """Print `message` on standard error at once."""
    print(message, file=sys.stderr, flush=True)


class RestartBudget:
    """Allows `per_hour` restarts of all parts of a run within any hour, and prints each with `print_line`.

    A part that fails twice in the same way before it did any work is not started a third time. Thread-safe.
    """

    def __init__(self, per_hour: int, print_line: Callable[[str], None] = print_error) -> None:
        self._per_hour, self._print_line = per_hour, print_line
        self._spent: deque[tuple[float, str]] = deque()
        self._worked = set[str]()
        """parts that did some work"""
        self._idle_failures = set[tuple[str, str]]()
        """part and kind of reason of the failures of the others"""
        self._lock = threading.Lock()
        self.total = 0
        """restarts so far"""

    @classmethod
    def of(cls, guard: GuardConfig, print_line: Callable[[str], None] = print_error) -> Self:
        """Return a budget of `guard.max_restarts_per_hour`."""
        return cls(guard.max_restarts_per_hour, print_line)

    def worked(self, part: str) -> None:
        """Record that `part` did some work in this run, so that only the hourly limit applies to it."""
        with self._lock:
            self._worked.add(part)

    def spend(self, part: str, why: object) -> None:
        """Count a restart of `part`, which failed because of `why`, and print both.

        Raises `GuardError` with the number of failures of each part and the reason when there are too many.
        """
        reason = in_short(why)
        with self._lock:
            if part not in self._worked:
                failure = (part, _VARIABLE.sub("#", reason))
                if failure in self._idle_failures:
                    raise GuardError(
                        f"{part} died twice in the same way before it had done any work, and is not started again: {reason}"
                    )
                self._idle_failures.add(failure)
            now = time.monotonic()
            while self._spent and self._spent[0][0] <= now - HOUR_S:
                self._spent.popleft()
            failed = [*(name for _, name in self._spent), part]
            if len(failed) > self._per_hour:
                counts = ", ".join(f"{name} {count} times" for name, count in sorted(Counter(failed).items()))
                raise GuardError(
                    f"{len(failed)} failures within an hour ({counts}) exceed guard.max_restarts_per_hour={self._per_hour}; "
                    f"the last: {part}: {reason}"
                )
            self._spent.append((now, part))
            self.total += 1
        self._print_line(
            f"RESTART: {part} failed and is started again (restart {len(failed)} of {self._per_hour} within an hour): {reason}"
        )


def in_short(why: object) -> str:
    """Return the line of an error that says most, cut to `WIDTH` characters.

    It is the last one, since Ray may have wrapped the error in a traceback; the first one where Ray adds advice.
    """
    lines = [line.strip() for line in str(why).splitlines() if line.strip()]
    if not lines:
        return type(why).__name__
    if lines[-1].startswith(_ADVICE):
        return shorten(lines[0], WIDTH, placeholder=" ...")
    reasons = [line for line in lines if not line.startswith(_NEVER_RAN)]
    return shorten((reasons or lines)[-1], WIDTH, placeholder=" ...")
