"""The worker of a sweep: a process that makes runs one after another, in one Ray cluster and on engines that it keeps.

A run that fails ends it, with the exit code of launch/train.py.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

from launch.cluster.local_cluster import ray_cluster
from launch.entry import configuration, exit_codes, use_cache
from launch.experiments.engines import SharedEngines
from launch.run.program import run

PROGRAM = "launch/train.py"
"""The program's name in the worker's messages."""


def work(requests: Connection, logs: Path) -> None:
    """Make the runs that are requested, until the other end closes.

    A request holds a run's overrides and the file to append its output to; the answer to a run that has finished is its file.
    """
    with ray_cluster(logs), SharedEngines() as engines:
        for overrides, output in received(requests):
            append_output(output)
            sys.argv = [PROGRAM, *overrides]
            with exit_codes():
                config = configuration(overrides)
                use_cache(config)
                run(config, engines.borrow_engines)
            requests.send(output)


def received(requests: Connection) -> Iterator[tuple[tuple[str, ...], Path]]:
    """Yield each request, until the other end closes."""
    with suppress(EOFError):
        while True:
            yield requests.recv()


def append_output(file: Path) -> None:
    """Append what this process and those that it starts print to `file`."""
    with file.open("ab") as opened:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
            os.dup2(opened.fileno(), stream.fileno())


if __name__ == "__main__":
    logs, descriptor = Path(sys.argv[1]), int(sys.argv[2])
    os.set_inheritable(descriptor, False)  # the other end waits until the last process closes it
    with exit_codes(), Connection(descriptor) as requests:
        work(requests, logs)
