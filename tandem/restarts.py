"""How often parts of a run may die and be started again before the run stops."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from textwrap import shorten

from tandem.guards import GuardError

HOUR_S = 3600.0
WIDTH = 160
"""Characters that are told of why something died."""


class RestartBudget:
    """Allows `per_hour` restarts within any hour, of all parts of a run together; `say` tells the user of each.

    Any thread may call it.
    """

    def __init__(
        self,
        per_hour: int,
        say: Callable[[str], None] = lambda message: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._per_hour, self._say, self._clock = per_hour, say, clock
        self._spent: deque[tuple[float, str]] = deque()
        self._lock = threading.Lock()
        self.total = 0
        """restarts so far"""

    def spend(self, part: str, why: object) -> None:
        """`part` is lost, because of `why`, and shall be started again.

        Raises `GuardError`, naming what died how often, when that is too often.
        """
        reason = _in_short(why)
        with self._lock:
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
        self._say(f"LOST: {part} is started again (restart {len(lost)} of {self._per_hour} within an hour): {reason}")


def _in_short(why: object) -> str:
    """The line that says most of an error that Ray has wrapped in a traceback: the last, cut where it gets long."""
    lines = [line.strip() for line in str(why).splitlines() if line.strip()]
    return shorten(lines[-1], WIDTH, placeholder=" ...") if lines else type(why).__name__
