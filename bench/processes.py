"""Processes of a benchmark that answer over pipes."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any


@contextmanager
def servers(serve: Callable[..., None], arguments: Sequence[tuple[Any, ...]]) -> Iterator[list[Connection]]:
    """Start a process that runs `serve(*arguments, pipe)` for each of `arguments`; yield the other ends of the pipes.

    At the end each process is sent None, after which `serve` must return.
    """
    context = multiprocessing.get_context("spawn")
    pipes, processes = [], []
    for each in arguments:
        pipe, remote = context.Pipe()
        process = context.Process(target=serve, args=(*each, remote), daemon=True)
        process.start()
        remote.close()  # so that the pipe closes when the process ends
        pipes.append(pipe)
        processes.append(process)
    yield pipes
    for pipe, process in zip(pipes, processes, strict=True):
        pipe.send(None)
        process.join()
