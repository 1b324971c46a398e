"""Killable worker processes that judge answers: nothing an answer contains can hang, crash or take over the caller.

Each worker has a pipe of its own and one answer at a time: a deadline counts from the moment the answer is handed over, and a
kill loses nothing but that answer. What needs no algebra is settled here and never reaches a worker.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import wait
from pathlib import Path
from types import TracebackType
from typing import Self

from tandem.rollout import Verdict
from tandem.verify.extract import compile_pattern, final_answer
from tandem.verify.plain import Unparsable, settle
from tandem.verify.worker import READY

GIB = 1 << 30
SOURCE = Path(__file__).parents[2]
"""The folder that holds the package `tandem`."""
START_TIMEOUT_S = 120.0
"""A worker takes half a second to start; on a crowded machine, many times that."""
STARTS = 3
"""A worker that dies so many times in a row before it is ready is given up."""


@dataclass(frozen=True)
class Judgement:
    """The verdict on one response, and the final answer it was passed on (None if the response states none)."""

    verdict: Verdict
    extracted: str | None


@dataclass(frozen=True)
class _Task:
    """One answer that takes algebra: the `index` of its response, and what to compare."""

    index: int
    gold: str
    answer: str


class VerifierPool:
    """Judges responses in `workers` processes, each with `memory_gib` GiB of address space and `timeout_s` seconds an answer.

    `answer_pattern` is a regular expression whose first group is the final answer; empty means the last box. The processes
    start at once and are waited for only when one is needed. Not for use by several threads at a time.
    Raises `ValueError` when a limit is not positive or the pattern cannot be used.
    """

    def __init__(self, workers: int, timeout_s: float, memory_gib: float, answer_pattern: str = "") -> None:
        for name, value in (("workers", workers), ("timeout_s", timeout_s), ("memory_gib", memory_gib)):
            if value <= 0:
                raise ValueError(f"judge.{name}={value}: must be positive")
        self._pattern = compile_pattern(answer_pattern)
        self._workers = [_Worker(timeout_s, int(memory_gib * GIB)) for _ in range(workers)]

    def grade(self, items: Sequence[tuple[str, str]]) -> list[Judgement]:
        """The judgements of (gold answer, response) pairs, in the order of the pairs.

        A verdict is `UNPARSABLE` when the response states no answer or one that cannot be read, `TIMEOUT` when the worker was
        killed at the deadline, `ERROR` when it died before (of its memory limit, say).
        Raises `RuntimeError` when a worker cannot start.
        """
        answers = [final_answer(response, self._pattern) for _, response in items]
        verdicts: dict[int, Verdict] = {}
        tasks: deque[_Task] = deque()
        for index, ((gold, _), answer) in enumerate(zip(items, answers, strict=True)):
            verdict = _without_algebra(gold, answer)
            if verdict is not None:
                verdicts[index] = verdict
            elif answer is not None:
                tasks.append(_Task(index, gold, answer))
        if tasks:
            verdicts |= self._by_algebra(tasks)
        return [Judgement(verdicts[index], answer) for index, answer in enumerate(answers)]

    def close(self) -> None:
        """Ends the worker processes; returns when they are gone. May be called again."""
        for worker in self._workers:
            worker.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _by_algebra(self, tasks: deque[_Task]) -> dict[int, Verdict]:
        verdicts: dict[int, Verdict] = {}
        try:
            while tasks or any(worker.task for worker in self._workers):
                for worker in self._workers:
                    if tasks and worker.idle and worker.give(tasks[0]):
                        tasks.popleft()
                # A worker that has died while idle is found out on handing it a task, and is then starting again, so not idle.
                pending = [worker for worker in self._workers if not worker.idle]
                patience = min(worker.deadline for worker in pending) - time.monotonic()
                readable = wait([worker.pipe for worker in pending], max(0.0, patience))
                for worker in pending:
                    task = worker.task
                    if worker.pipe in readable:
                        verdict = worker.receive()
                    elif time.monotonic() >= worker.deadline:
                        verdict = worker.replace()
                    else:
                        continue
                    if task is not None and verdict is not None:
                        verdicts[task.index] = verdict
        finally:
            for worker in self._workers:  # after Ctrl-C or an error: a late verdict must not be taken for the next answer's
                if worker.task:
                    worker.restart()
        return verdicts


def _without_algebra(gold: str, answer: str | None) -> Verdict | None:
    """The verdict where it takes no worker to tell."""
    if answer is None:
        return Verdict.UNPARSABLE
    try:
        settled = settle(gold, answer)
    except Unparsable:
        return Verdict.UNPARSABLE
    if settled is None:
        return None
    return Verdict.CORRECT if settled else Verdict.WRONG


class _Worker:
    """One worker process, and its replacement when it is gone."""

    def __init__(self, timeout_s: float, memory_bytes: int) -> None:
        self._timeout_s, self._memory_bytes = timeout_s, memory_bytes
        self._failed_starts = 0
        """in a row"""
        self._start()

    def _start(self) -> None:
        self.task: _Task | None = None
        """What it is judging."""
        self._ready = False
        self.deadline = time.monotonic() + START_TIMEOUT_S
        """When it is to have answered, or to have started."""
        self.pipe, theirs = Pipe()
        # Not multiprocessing's spawn: that would import the caller's main module, with Ray and torch, into every worker.
        worker = ["-P", "-m", "tandem.verify.worker", str(theirs.fileno()), str(self._memory_bytes), str(self._timeout_s)]
        self._process = subprocess.Popen(
            [sys.executable, *worker],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(SOURCE), *filter(None, sys.path)])},
        )
        theirs.close()

    @property
    def idle(self) -> bool:
        """Whether it waits for a task."""
        return self._ready and self.task is None

    def give(self, task: _Task) -> bool:
        """Hands over a task; False if the worker had died meanwhile, and is being replaced."""
        try:
            self.pipe.send_bytes(json.dumps([task.gold, task.answer]).encode())
        except ConnectionError:
            self.restart()
            return False
        self.task, self.deadline = task, time.monotonic() + self._timeout_s
        return True

    def receive(self) -> Verdict | None:
        """Reads what the pipe holds: the verdict on its task, or None if it has just started. Replaces a dead worker."""
        try:
            message = self.pipe.recv_bytes()
        except (EOFError, ConnectionError):
            return self.replace()
        self.task = None
        if message == READY:
            self._ready, self._failed_starts = True, 0
            return None
        return Verdict(message.decode())

    def replace(self) -> Verdict | None:
        """Replaces a worker that has died or is past its deadline; returns what that makes of its task, if it had one."""
        late = time.monotonic() >= self.deadline
        if self._ready:
            self.restart()
            return Verdict.TIMEOUT if late else Verdict.ERROR
        self._failed_starts += 1
        if late or self._failed_starts == STARTS:
            what = f"was not ready after {START_TIMEOUT_S:.0f} s" if late else f"died while starting, {STARTS} times in a row"
            memory_gib = self._memory_bytes / GIB
            raise RuntimeError(f"a verification worker {what}: is judge.memory_gib={memory_gib:g} too small for it?")
        self.restart()
        return None

    def restart(self) -> None:
        """Replaces the process, whatever it is doing."""
        self.kill()
        self._start()

    def kill(self) -> None:
        """Ends the process and waits until it is gone."""
        self._process.kill()
        self._process.wait()
        self.pipe.close()
