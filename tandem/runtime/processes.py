"""The processes of a run: their location, their memory, and how to end them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import psutil

END_TIMEOUT_S = 20.0
"""Longest wait for a killed process to end."""
GRACE_S = 10.0
"""The time that a process has to end after its parent."""


class ProcessLocation(NamedTuple):
    """Where a process runs."""

    host: str
    pid: int


def process_location(pid: int | None = None) -> ProcessLocation:
    """Return the location of process `pid` of this host, by default the current one."""
    return ProcessLocation(socket.gethostname(), os.getpid() if pid is None else pid)


class PeakMemory(NamedTuple):
    """Peak memory of a process in bytes."""

    host: int
    """resident, shared pages included"""
    gpu: int
    """allocated by torch; 0 without a GPU"""


def peak_host_bytes() -> int:
    """Return the largest resident size of this process so far, as Linux counts it."""
    (line,) = (line for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) << 10


def on_this_host(processes: Mapping[str, ProcessLocation]) -> dict[str, psutil.Process]:
    """Return those of `processes` that run on this host, by name."""
    local = {}
    for name, (host, pid) in processes.items():
        if host == socket.gethostname() and psutil.pid_exists(pid):
            local[name] = psutil.Process(pid)
    return local


def end(processes: Iterable[psutil.Process]) -> None:
    """Kill those of `processes` that still run and wait until they have ended."""
    running = [process for process in processes if process.is_running()]
    for process in running:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(running, timeout=END_TIMEOUT_S)


def end_with_parent() -> None:
    """End this process as soon as the process that started it by `multiprocessing` has ended; kill it if it takes too long."""
    if (parent := multiprocessing.parent_process()) is not None:

        def follow() -> None:
            parent.join()
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(GRACE_S)
            os.kill(os.getpid(), signal.SIGKILL)

        threading.Thread(target=follow, name="end_with_parent", daemon=True).start()


def host_memory_fraction() -> float:
    """Return the used fraction of this host's memory."""
    return psutil.virtual_memory().percent / 100
