"""The watchdog: print where every process of the run is when no step has finished for a long time."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

DUMP_TIMEOUT_S = 20.0
"""How long py-spy may take for one process."""
BESIDE_PYTHON = str(Path(sys.executable).parent)


class Watchdog:
    """A thread that prints the stack of this process, and of each of `processes()` with its children, whenever `alive` was not
    called for `stall_s`; a context manager that ends it."""

    def __init__(
        self, stall_s: float, processes: Callable[[], Mapping[str, psutil.Process]], print_line: Callable[[str], None]
    ) -> None:
        self._stall_s, self._processes, self._print_line = stall_s, processes, print_line
        self._main = threading.get_ident()
        self._last = time.monotonic()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def alive(self) -> None:
        """Note that a step has finished."""
        self._last = time.monotonic()

    def _watch(self) -> None:
        reported = self._last
        while not self._ended.wait(max(0.0, max(reported, self._last) + self._stall_s - time.monotonic())):
            if time.monotonic() >= max(reported, self._last) + self._stall_s:
                reported = time.monotonic()
                stalled = f"STALLED: no step has finished for {reported - self._last:.0f} s (guard.stall_s={self._stall_s:g})"
                self._print_line(f"{stalled}\n{self.report()}")

    def report(self) -> str:
        """Return the current stacks of this process's main thread and of every other process."""
        frame = sys._current_frames().get(self._main)
        stack = "".join(traceback.format_stack(frame)) if frame else ""
        parts = [f"-- driver\n{stack}"]
        for name, process in self._processes().items():
            parts += [f"-- {name}: {where(member)}" for member in _with_children(process)]
        return "\n".join(parts)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._ended.set()
        self._thread.join()


def where(process: psutil.Process) -> str:
    """Return the stacks of a process's threads if py-spy is installed and permitted, else its command and state."""
    try:
        description = f"process {process.pid}, {process.status()}, {' '.join(process.cmdline())[:80]}"
    except psutil.NoSuchProcess:
        return "gone"
    path = shutil.which("py-spy", path=BESIDE_PYTHON) or shutil.which("py-spy")
    if path is None:
        return f"{description} (install py-spy to see more)"
    command = [path, "dump", "--nonblocking", "--pid", str(process.pid)]
    try:
        dump = subprocess.run(
            command, capture_output=True, encoding="utf-8", errors="replace", timeout=DUMP_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return f"{description} (py-spy took too long)"
    return f"{description}\n{dump.stdout}" if dump.returncode == 0 else f"{description} (py-spy: {dump.stderr.strip()[:200]})"


def _with_children(process: psutil.Process) -> list[psutil.Process]:
    """Return the process and its descendants."""
    try:
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return [process]
