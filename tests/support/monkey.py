"""Kill one process of each kind of a run with SIGKILL, at times drawn from a seed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import psutil

LOOK_S = 0.02
FIND_TIMEOUT_S = 120.0
"""Seconds to search for a victim: another process of its kind may just be starting."""
Finder = Callable[[psutil.Process], list[psutil.Process]]


@dataclass(frozen=True)
class Kill:
    """A planned kill, `delay_s` after the run has logged `rows` rows of metrics."""

    victim: str
    rows: int
    delay_s: float


@dataclass(frozen=True)
class Killed:
    """A completed kill."""

    victim: str
    pid: int
    doing: str
    """the process's title, in which Ray says what an actor was doing"""
    rows: int


def is_engine(process: psutil.Process) -> bool:
    """Whether the process is a vLLM engine: by its title, which setproctitle does not always set, or by how it was started."""
    line = command(process)
    if any(mark in line for mark in ("EngineCore", "multiprocessing.spawn")):
        return True
    try:
        parent = process.parent()
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return False
    return parent is not None and "multiprocessing.forkserver" in command(parent)


def titled(title: str) -> Finder:
    """Return the actors of a run whose class is `title`."""

    def find(driver: psutil.Process) -> list[psutil.Process]:
        return [p for p in descendants(driver) if command(p).split(".")[0].split(" ")[0] == f"ray::{title}"]

    return find


def workers(driver: psutil.Process) -> list[psutil.Process]:
    """Return the workers of the reward actor."""
    return [p for p in descendants(driver) if "tandem.verify.worker" in command(p)]


def engine(index: int) -> Finder:
    """Return the `index`th engine of an actor, in the order of their cores."""

    def find(driver: psutil.Process) -> list[psutil.Process]:
        engines = [process for process in descendants(driver) if is_engine(process)]
        bound = {process: process.cpu_affinity() for process in engines}
        started = [process for process in engines if bound[process] != driver.cpu_affinity()]
        return sorted(started, key=lambda process: bound[process])[index::2]

    return find


def plan(seed: int, victims: Sequence[str], first: int, last: int, longest_s: float) -> list[Kill]:
    """Return kills of `victims` in random order, spread over the rows from `first` to `last`, up to `longest_s` into a step."""
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.choice(np.arange(first, last), len(victims), replace=last - first < len(victims)))
    delays = rng.uniform(0, longest_s, len(victims))
    drawn = zip(rng.permutation(victims), rows, delays, strict=True)
    return [Kill(str(victim), int(row), float(delay)) for victim, row, delay in drawn]


class Monkey:
    """Run a plan in a thread, on the run with the driver `driver` that logs to `metrics`. A context manager."""

    def __init__(self, driver: int, metrics: Path, kills: Sequence[Kill], finders: Mapping[str, Finder]) -> None:
        self._driver, self._metrics, self._kills, self._finders = psutil.Process(driver), metrics, kills, finders
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.killed: list[Killed] = []

    def _run(self) -> None:
        for kill in self._kills:
            while logged(self._metrics) < kill.rows and not self._ended.wait(LOOK_S):
                pass
            if self._ended.wait(kill.delay_s):
                return
            self._kill(kill.victim)

    def _kill(self, victim: str) -> None:
        deadline = time.monotonic() + FIND_TIMEOUT_S
        while time.monotonic() < deadline and not self._ended.is_set():
            try:
                for process in self._finders[victim](self._driver)[:1]:
                    doing, rows = command(process), logged(self._metrics)
                    process.kill()
                    self.killed.append(Killed(victim, process.pid, doing[:60].strip(), rows))
                    return
            except psutil.NoSuchProcess:
                pass
            time.sleep(LOOK_S)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._ended.set()
        self._thread.join()


def logged(metrics: Path) -> int:
    """Return the number of rows in metrics.jsonl."""
    return metrics.read_bytes().count(b"\n") if metrics.exists() else 0


def descendants(driver: psutil.Process) -> list[psutil.Process]:
    """Return all descendants of `driver`."""
    try:
        return driver.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def command(process: psutil.Process) -> str:
    """Return the command line, which Ray and vLLM replace by a title; empty if the process has ended."""
    try:
        return " ".join(process.cmdline())
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return ""
