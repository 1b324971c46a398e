"""The processes of a run's parts: where each is, what host memory is used, and ending those of a lost part."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import psutil

END_TIMEOUT_S = 20.0
"""How long a killed process may take to be gone."""


class ProcessLocation(NamedTuple):
    """Where a process runs."""

    host: str
    pid: int


def process_location(pid: int | None = None) -> ProcessLocation:
    """Of this host's process `pid`, or of this one."""
    return ProcessLocation(socket.gethostname(), os.getpid() if pid is None else pid)


class PeakMemory(NamedTuple):
    """The most memory that a process has had, in bytes."""

    host: int
    """resident, shared pages included"""
    gpu: int
    """allocated by torch; 0 without a GPU"""


def peak_host_bytes() -> int:
    """The largest resident size that this process has had, as Linux counts it."""
    (line,) = (line for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) << 10


def on_this_host(processes: Mapping[str, ProcessLocation]) -> dict[str, psutil.Process]:
    """Those of `processes` that run here, by the same names; psutil tells them from later ones with the same process id."""
    found = {}
    for name, (host, pid) in processes.items():
        if host == socket.gethostname() and psutil.pid_exists(pid):
            found[name] = psutil.Process(pid)
    return found


def end(processes: Iterable[psutil.Process]) -> None:
    """Kills what is left of `processes` and waits until they are gone."""
    left = [process for process in processes if process.is_running()]
    for process in left:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(left, timeout=END_TIMEOUT_S)


def host_memory_fraction() -> float:
    """The share of this host's memory that is in use."""
    return psutil.virtual_memory().percent / 100
