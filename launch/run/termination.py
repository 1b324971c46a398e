"""The end of a run at SIGTERM, with which schedulers stop a job: a checkpoint of the last finished step, if time allows.

And at Ctrl-C, even if the exception that Python raises for it is lost.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from enum import Enum
from types import FrameType

from launch.entry import Terminated
from launch.storage.checkpoints import DriverState
from tandem.runtime.restarts import in_short


class Phase(Enum):
    """Where in the loop a signal arrives."""

    BETWEEN_UPDATES = "learner and engines have the same version"
    UPDATING = "they may not"
    CLOSED = "the components end"


class Reason(Enum):
    """Why the run ends."""

    CTRL_C = "Ctrl-C"
    SIGTERM = "SIGTERM"
    TIMEOUT = "the time after SIGTERM is over"


class TerminationHandler:
    """Handles SIGTERM during the training loop: raises `Terminated`, but not between an update and the end of its weight sync.

    `wait_s` after SIGTERM, or at a second signal, update and checkpoint are interrupted. `print_line` shows a line to the user.
    """

    def __init__(self, wait_s: float, print_line: Callable[[str], None]) -> None:
        self._wait_s, self._print_line = wait_s, print_line
        self._phase = Phase.BETWEEN_UPDATES
        self._reason: Reason | None = None
        self.state: DriverState | None = None
        """after the last step that this process has finished; None: it has finished none"""
        self.row: Mapping[str, float] | None = None
        """that step's metrics, until they are logged"""

    def defer(self) -> None:
        """Make SIGTERM wait until `finish_update`."""
        self._phase = Phase.UPDATING

    def finish_update(self, state: DriverState, row: Mapping[str, float]) -> None:
        """Note that learner and engines are at `state`, with the step's metrics `row`.

        Raises `Terminated` if SIGTERM waits, and `KeyboardInterrupt` if the one of an earlier Ctrl-C was lost.
        """
        self.state, self.row, self._phase = state, row, Phase.BETWEEN_UPDATES
        if self._terminated:
            raise Terminated
        if self._reason:
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
            if not self._terminated:
                raise
            if self.state and self._phase is Phase.BETWEEN_UPDATES:
                self._save(save, self.state)
            if isinstance(stop, Terminated):
                raise
            raise Terminated from stop
        finally:
            self._phase = Phase.CLOSED  # a later signal must not interrupt the components' shutdown
            timer.cancel()
            if catches_interrupts:
                signal.signal(signal.SIGINT, signal.default_int_handler)
            if not self._terminated:
                signal.signal(signal.SIGTERM, previous_handler)

    @property
    def _terminated(self) -> bool:
        """Whether SIGTERM came."""
        return self._reason in (Reason.SIGTERM, Reason.TIMEOUT)

    def _time_out(self, thread: int) -> None:
        """Signal `thread` again, after `wait_s`."""
        self._reason = Reason.TIMEOUT
        signal.pthread_kill(thread, signal.SIGTERM)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._phase is Phase.CLOSED:
            return
        if not self._terminated:
            self._reason = Reason.SIGTERM
            self._timer.start()
            if self._phase is Phase.UPDATING:
                self._print_line("SIGTERM: waiting for the current update to finish")
                return
        raise Terminated

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        """Raise `KeyboardInterrupt`. A destructor or a library may lose it: then `finish_update` raises it again."""
        self._reason = self._reason or Reason.CTRL_C
        raise KeyboardInterrupt

    def _save(self, save: Callable[[DriverState], None], state: DriverState) -> None:
        try:
            save(state)
        except KeyboardInterrupt:
            late = self._reason is Reason.TIMEOUT
            why = f" within checkpoint.on_signal_wait_s={self._wait_s:g}" if late else ": a second signal came"
            self._print_line(f"WARNING: no checkpoint could be written{why}")
        except Exception as error:  # noqa: BLE001
            # The run ends in any case. A checkpoint that fails must not prevent the message that says where it ended.
            self._print_line(f"WARNING: no checkpoint could be written: {in_short(error)}")
