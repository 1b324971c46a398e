"""How often parts of a run may die and be started again before the run stops."""

from __future__ import annotations

import re
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from textwrap import shorten

from tandem.guards import GuardError

HOUR_S = 3600.0
WIDTH = 400
"""Characters that are printed of why something died."""
_VARIABLE = re.compile(r"\S*\d\S*")
"""The words of a reason that differ between two deaths of the same kind: ids, counts, addresses."""


def print_error(message: str) -> None:
    """Print `message` on standard error at once."""
    print(message, file=sys.stderr, flush=True)


class RestartBudget:
    """Allows `per_hour` restarts within any hour, of all parts of a run together; `print_line` tells the user of each.

    A part that dies twice in the same way before it has done any work is not started a third time: it would die again. Any
    thread may call the methods.
    """

    def __init__(
        self,
        per_hour: int,
        print_line: Callable[[str], None] = print_error,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._per_hour, self._print_line, self._clock = per_hour, print_line, clock
        self._spent: deque[tuple[float, str]] = deque()
        self._worked = set[str]()
        """parts that have done some of their work"""
        self._died_idle = set[tuple[str, str]]()
        """the deaths of the others: which part, and the kind of its reason"""
        self._lock = threading.Lock()
        self.total = 0
        """restarts so far"""

    def worked(self, part: str) -> None:
        """Note that `part` has done some of its work in this run: it can, and may be restarted as often as the hour allows."""
        with self._lock:
            self._worked.add(part)

    def spend(self, part: str, why: object) -> None:
        """Allow a restart of `part`, which died because of `why`, and print both.

        Raises `GuardError`, naming what died how often and why, when that is too often.
        """
        reason = in_short(why)
        with self._lock:
            if part not in self._worked:
                death = (part, _VARIABLE.sub("#", reason))
                if death in self._died_idle:
                    raise GuardError(
                        f"{part} died twice in the same way before it had done any work, and is not started again: {reason}"
                    )
                self._died_idle.add(death)
            now = self._clock()
            while self._spent and self._spent[0][0] <= now - HOUR_S:
                self._spent.popleft()
            lost = [*(name for _, name in self._spent), part]
            if len(lost) > self._per_hour:
                counts = ", ".join(f"{name} {count} times" for name, count in sorted(Counter(lost).items()))
                raise GuardError(
                    f"{len(lost)} losses within an hour ({counts}) are more than guard.max_restarts_per_hour={self._per_hour}; "
                    f"the last: {part}: {reason}"
                )
            self._spent.append((now, part))
            self.total += 1
        self._print_line(f"LOST: {part} is started again (restart {len(lost)} of {self._per_hour} within an hour): {reason}")


def in_short(why: object) -> str:
    """Return the line that says most of an error that Ray has wrapped in a traceback: the last, cut where it gets long."""
    lines = [line.strip() for line in str(why).splitlines() if line.strip()]
    return shorten(lines[-1], WIDTH, placeholder=" ...") if lines else type(why).__name__
