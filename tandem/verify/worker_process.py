"""The pool's hold on one worker process: it is started, handed one response at a time, and killed and replaced."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from multiprocessing import Pipe
from pathlib import Path

from tandem.verify.judgement import Judgement, Verdict, plain_judgement
from tandem.verify.worker import Settings

GIB = 1 << 30
SOURCE = Path(__file__).parents[2]
"""The folder that holds the package `tandem`."""
START_TIMEOUT_S = 120.0
"""A worker takes half a second to start; on a crowded machine, many times that."""
STARTS = 3
"""A worker that dies so many times in a row before it is ready is given up."""


@dataclass(frozen=True)
class Task:
    """One response that takes a worker: its place among those to judge, and what to judge."""

    index: int
    gold: str
    response: str
    again: bool = False
    """whether it has been judged once and came to an error"""


class WorkerProcess:
    """One worker process, and its replacement when it is gone."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._failed_starts = 0
        """in a row"""
        self._start()

    def _start(self) -> None:
        self.task: Task | None = None
        """What it is judging."""
        self._extracted: str | None = None
        """The answer of that response, as far as the worker has told."""
        self._ready = False
        self._began = time.monotonic()
        """When it was started, or given its task."""
        self.deadline = self._began + START_TIMEOUT_S
        """When it is to have started, or to have judged."""
        self.pipe, theirs = Pipe()
        # Not multiprocessing's spawn: that would import the caller's main module, with Ray and torch, into every worker.
        worker = ["-P", "-m", "tandem.verify.worker", str(theirs.fileno()), json.dumps(asdict(self._settings))]
        # A verifier of the user's own may also lie in the current folder.
        path = os.pathsep.join([str(SOURCE), *filter(None, sys.path), os.getcwd()])
        self._process = subprocess.Popen(
            [sys.executable, *worker],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            env={**os.environ, "PYTHONPATH": path},
        )
        theirs.close()

    @property
    def ready(self) -> bool:
        """Whether it has started."""
        return self._ready

    @property
    def idle(self) -> bool:
        """Whether it waits for a task."""
        return self._ready and self.task is None

    def give(self, task: Task) -> bool:
        """Hands over a task; False if the worker had died meanwhile, and is being replaced."""
        self._began = time.monotonic()
        try:
            self.pipe.send_bytes(json.dumps([task.gold, task.response]).encode())
        except ConnectionError:
            self.restart()
            return False
        self.task, self._extracted, self.deadline = task, None, self._began + self._settings.timeout_s
        return True

    def receive(self) -> Judgement | None:
        """Reads a message: the judgement of its task, or None for any other message. Replaces a dead worker.

        Raises `ValueError` when the worker cannot load the verifier.
        """
        try:
            message = json.loads(self.pipe.recv_bytes())
        except (EOFError, ConnectionError):
            return self.replace()
        if "refused" in message:
            raise ValueError(_named(self._settings.verifier, message["refused"]))
        if "ready" in message:
            self._ready, self._failed_starts = True, 0
            return None
        if "verdict" not in message:
            self._extracted = message["extracted"]
            return None
        self.task = None
        extracted = message["extracted"] or self._extracted
        return Judgement(Verdict(message["verdict"]), extracted, message["score"], self._seconds())

    def replace(self) -> Judgement | None:
        """Replaces a worker that has died or is past its deadline; returns what that makes of its task, if it had one.

        Raises `RuntimeError` when it does not start, and `ValueError` if that may be its verifier's fault.
        """
        late = time.monotonic() >= self.deadline
        if self._ready:
            judgement = plain_judgement(Verdict.TIMEOUT if late else Verdict.ERROR, self._extracted, self._seconds())
            had_task = self.task is not None
            self.restart()
            return judgement if had_task else None
        self._failed_starts += 1
        if late or self._failed_starts == STARTS:
            what = f"was not ready after {START_TIMEOUT_S:.0f} s" if late else f"died while starting, {STARTS} times in a row"
            memory_gib = self._settings.memory_bytes / GIB
            reason = f"a verification worker {what}: is judge.memory_gib={memory_gib:g} too small for it?"
            if self._settings.verifier:
                raise ValueError(_named(self._settings.verifier, reason))
            raise RuntimeError(reason)
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

    def _seconds(self) -> float:
        return time.monotonic() - self._began


def _named(verifier: str, reason: str) -> str:
    key = f"data.verifier={verifier}: "
    return key + reason.partition(key)[2] if key in reason else key + reason
