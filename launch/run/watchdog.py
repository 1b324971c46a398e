"""The watchdog: when no step has finished for long, it prints where every process of the run is."""

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
"""How long py-spy may take over one process."""
BESIDE_PYTHON = str(Path(sys.executable).parent)


class Watchdog:
    """A thread that prints where each of `processes()`, its children and this process are, whenever nobody has called `alive`
    for `stall_s`; a context manager that ends it."""

    def __init__(
        self, stall_s: float, processes: Callable[[], Mapping[str, psutil.Process]], print_line: Callable[[str], None]
    ) -> None:
        self._stall_s, self._processes, self._print_line = stall_s, processes, print_line
        self._main = threading.get_ident()
        self._last = time.monotonic()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def alive(self) -> None:
        """A step has finished."""
        self._last = time.monotonic()

    def _watch(self) -> None:
        told = self._last
        while not self._ended.wait(max(0.0, max(told, self._last) + self._stall_s - time.monotonic())):
            if time.monotonic() >= max(told, self._last) + self._stall_s:
                told = time.monotonic()
                stalled = f"STALLED: no step has finished for {told - self._last:.0f} s (guard.stall_s={self._stall_s:g})"
                self._print_line(f"{stalled}\n{self.report()}")

    def report(self) -> str:
        """Where this process's main thread, and every other process, is just now."""
        frame = sys._current_frames().get(self._main)
        stack = "".join(traceback.format_stack(frame)) if frame else ""
        parts = [f"-- driver\n{stack}"]
        for name, process in self._processes().items():
            parts += [f"-- {name}: {where(each)}" for each in _with_children(process)]
        return "\n".join(parts)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._ended.set()
        self._thread.join()


def where(process: psutil.Process) -> str:
    """Where a process is: the stacks of its threads if py-spy is installed and may look, else its command and state."""
    try:
        what = f"process {process.pid}, {process.status()}, {' '.join(process.cmdline())[:80]}"
    except psutil.NoSuchProcess:
        return "gone"
    path = shutil.which("py-spy", path=BESIDE_PYTHON) or shutil.which("py-spy")
    if path is None:
        return f"{what} (install py-spy to see more)"
    command = [path, "dump", "--nonblocking", "--pid", str(process.pid)]
    try:
        seen = subprocess.run(
            command, capture_output=True, encoding="utf-8", errors="replace", timeout=DUMP_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return f"{what} (py-spy took too long)"
    return f"{what}\n{seen.stdout}" if seen.returncode == 0 else f"{what} (py-spy: {seen.stderr.strip()[:200]})"


def _with_children(process: psutil.Process) -> list[psutil.Process]:
    """The process and those it has started."""
    try:
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return [process]
