"""The end of a run at SIGTERM, as schedulers stop a job: a checkpoint of the last step that is done, if there is time."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType

from launch.entry import Terminated
from launch.storage.checkpoints import State
from tandem.runtime.restarts import in_short


class Stopping:
    """What SIGTERM does to a run whose loop goes on: it raises `Terminated`, but not between an update and the end of its step.

    A step that has begun to learn is finished first, for `wait_s` at most; a second signal does not wait. `print_line` prints a
    line.
    """

    def __init__(self, wait_s: float, print_line: Callable[[str], None]) -> None:
        self._wait_s, self._print_line = wait_s, print_line
        self._held = self._asked = self._ignored = self._late = False
        self.state: State | None = None
        """after the last step that this process has learned from; None: it has learned from none yet"""
        self.row: Mapping[str, float] | None = None
        """that step's metrics, until they are logged"""

    def hold(self) -> None:
        """Make SIGTERM wait until `finish_update`: the learner changes meanwhile."""
        self._held = True

    def finish_update(self, state: State, row: Mapping[str, float]) -> None:
        """Note that the learner is at `state`, with the step's metrics `row`. Raises `Terminated` if SIGTERM waits for that."""
        self.state, self.row, self._held = state, row, False
        if self._asked:
            raise Terminated

    @contextmanager
    def saving(self, save: Callable[[State], None]) -> Iterator[None]:
        """Handle SIGTERM while the block runs; if it ends the block while the learner is at `state`, call `save` with that."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.signal(signal.SIGTERM, self._handle)
        timer = threading.Timer(self._wait_s, self._give_up, (threading.get_ident(),))
        timer.daemon = True
        self._timer = timer
        try:
            yield
        except KeyboardInterrupt as stop:  # Ray turns a `Terminated` that its waiting is ended by into a plain one
            if not self._asked:
                raise
            if self.state and not self._held:
                self._save(save, self.state)
            if isinstance(stop, Terminated):
                raise
            raise Terminated from stop
        finally:
            self._ignored = True  # what follows is the orderly end
            timer.cancel()
            if not self._asked:
                signal.signal(signal.SIGTERM, before)

    def _give_up(self, thread: int) -> None:
        """Signal `thread` that `wait_s` are over."""
        self._late = True
        signal.pthread_kill(thread, signal.SIGTERM)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._ignored:
            return
        first, self._asked = not self._asked, True
        if first:
            self._timer.start()
            if self._held:
                self._print_line("SIGTERM: the step that learns is finished first")
                return
        raise Terminated

    def _save(self, save: Callable[[State], None], state: State) -> None:
        try:
            save(state)
        except KeyboardInterrupt:
            limit = f" within checkpoint.on_signal_wait_s={self._wait_s:g}" if self._late else ": another signal ended that"
            self._print_line(f"WARNING: no checkpoint could be written{limit}")
        except Exception as error:  # noqa: BLE001
            # The run ends in any case, and its end is to say where it is: why the learner cannot save must not hide that.
            self._print_line(f"WARNING: no checkpoint could be written: {in_short(error)}")
