"""The end of a run at SIGTERM, with which schedulers stop a job: a checkpoint of the last finished step, if time allows.

And at Ctrl-C, even if the exception that Python raises for it is lost.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType

from launch.entry import Terminated
from launch.storage.checkpoints import DriverState
from tandem.runtime.restarts import in_short


class TerminationHandler:
    """Handles SIGTERM during the training loop: raises `Terminated`, but not between an update and the end of its weight sync.

    `wait_s` after SIGTERM, or at a second signal, update and checkpoint are interrupted. `print_line` shows a line to the user.
    """

    def __init__(self, wait_s: float, print_line: Callable[[str], None]) -> None:
        self._wait_s, self._print_line = wait_s, print_line
        self._deferred = self._received = self._closed = self._timed_out = self._interrupted = False
        self.state: DriverState | None = None
        """after the last step that this process has finished; None: it has finished none"""
        self.row: Mapping[str, float] | None = None
        """that step's metrics, until they are logged"""

    def defer(self) -> None:
        """Make SIGTERM wait until `finish_update`."""
        self._deferred = True

    def finish_update(self, state: DriverState, row: Mapping[str, float]) -> None:
        """Note that learner and engines are at `state`, with the step's metrics `row`.

        Raises `Terminated` if SIGTERM waits, and `KeyboardInterrupt` if the one of an earlier Ctrl-C was lost.
        """
        self.state, self.row, self._deferred = state, row, False
        if self._received:
            raise Terminated
        if self._interrupted:
            raise KeyboardInterrupt

    @contextmanager
    def handle(self, save: Callable[[DriverState], None]) -> Iterator[None]:
        """Handle SIGTERM in the block. If it ends the block outside an update, call `save` with the last state."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        previous_handler = signal.signal(signal.SIGTERM, self._handle)
        catches_interrupts = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # else they are ignored
        if catches_interrupts:
            signal.signal(signal.SIGINT, self._interrupt)
        timer = threading.Timer(self._wait_s, self._time_out, (threading.get_ident(),))
        timer.daemon = True
        self._timer = timer
        try:
            yield
        except KeyboardInterrupt as stop:  # Ray turns a `Terminated` that is raised while it waits into a plain one
            if not self._received:
                raise
            if self.state and not self._deferred:
                self._save(save, self.state)
            if isinstance(stop, Terminated):
                raise
            raise Terminated from stop
        finally:
            self._closed = True  # a later signal must not interrupt the components' shutdown
            timer.cancel()
            if catches_interrupts:
                signal.signal(signal.SIGINT, signal.default_int_handler)
            if not self._received:
                signal.signal(signal.SIGTERM, previous_handler)

    def _time_out(self, thread: int) -> None:
        """Signal `thread` again, after `wait_s`."""
        self._timed_out = True
        signal.pthread_kill(thread, signal.SIGTERM)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._closed:
            return
        first, self._received = not self._received, True
        if first:
            self._timer.start()
            if self._deferred:
                self._print_line("SIGTERM: waiting for the current update to finish")
                return
        raise Terminated

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        """Raise `KeyboardInterrupt`. A destructor or a library may lose it: then `finish_update` raises it again."""
        self._interrupted = True
        raise KeyboardInterrupt

    def _save(self, save: Callable[[DriverState], None], state: DriverState) -> None:
        try:
            save(state)
        except KeyboardInterrupt:
            limit = f" within checkpoint.on_signal_wait_s={self._wait_s:g}" if self._timed_out else ": a second signal came"
            self._print_line(f"WARNING: no checkpoint could be written{limit}")
        except Exception as error:  # noqa: BLE001
            # The run ends in any case. A checkpoint that fails must not prevent the message that says where it ended.
            self._print_line(f"WARNING: no checkpoint could be written: {in_short(error)}")
