"""One worker process as the pool sees it: start it, send it one response at a time, kill it, restart it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from multiprocessing import Pipe
from pathlib import Path

from tandem.config.schema import ConfigError
from tandem.runtime.errors import RunError
from tandem.runtime.units import GIB
from tandem.verify.judgement import Judgement, Verdict, plain_judgement
from tandem.verify.worker import WorkerSettings

SOURCE = Path(__file__).parents[2]
"""Folder that contains the package `tandem`."""
START_TIMEOUT_S = 120.0
"""A worker starts in half a second, on a busy machine in many times that."""
MAX_STARTS = 3
"""Starts in a row that may fail before the pool raises an error."""


@dataclass(frozen=True)
class JudgeTask:
    """One response for a worker, with its index in the batch."""

    index: int
    gold: str
    response: str
    is_retry: bool = False
    """whether the first judgement was an error"""


class WorkerProcess:
    """A worker process that is restarted when it dies or misses its deadline."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        self._failed_starts = 0
        """in a row"""
        self._start()

    def _start(self) -> None:
        self._start_error = ""
        """that of a failed start, in parentheses; empty if the worker sent none"""
        self.task: JudgeTask | None = None
        """The response that the worker is judging."""
        self._extracted: str | None = None
        """The final answer of that response, once the worker has sent it."""
        self._ready = False
        self._started_at = time.monotonic()
        """When the process was started or the task was sent."""
        self.deadline = self._started_at + START_TIMEOUT_S
        """When the worker must be ready, or must have judged the task."""
        self.pipe, worker_pipe = Pipe()
        # multiprocessing's spawn would import the caller's main module, with Ray and torch, into every worker.
        arguments = ["-P", "-m", "tandem.verify.worker", str(worker_pipe.fileno()), json.dumps(asdict(self._settings))]
        # A custom verifier may lie in the current folder.
        path = os.pathsep.join([str(SOURCE), *filter(None, sys.path), os.getcwd()])
        self._process = subprocess.Popen(
            [sys.executable, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[worker_pipe.fileno()],
            env={**os.environ, "PYTHONPATH": path},
        )
        worker_pipe.close()

    @property
    def ready(self) -> bool:
        """Whether the worker has started."""
        return self._ready

    @property
    def idle(self) -> bool:
        """Whether the worker is ready and has no task."""
        return self._ready and self.task is None

    def send(self, task: JudgeTask) -> bool:
        """Send a task to the worker. Restart the worker and return False if it has died."""
        self._started_at = time.monotonic()
        try:
            self.pipe.send_bytes(json.dumps([task.gold, task.response]).encode())
        except ConnectionError:
            self.restart()
            return False
        self.task, self._extracted, self.deadline = task, None, self._started_at + self._settings.timeout_s
        return True

    def receive(self) -> Judgement | None:
        """Read a message. Return the judgement of the task, or None for any other message. Replace a dead worker.

        Raises `ConfigError` when the worker cannot load the verifier.
        """
        try:
            message = json.loads(self.pipe.recv_bytes())
        except (EOFError, ConnectionError):
            return self.replace()
        if "failed" in message:
            self._start_error = f" ({message['failed']})"
            return None
        if "refused" in message:
            raise ConfigError(_with_key(self._settings.verifier, message["refused"]))
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
        """Restart a worker that died or missed its deadline. Return `ERROR` or `TIMEOUT` for its task, if it had one.

        Raises `RunError` when the worker does not start, or `ConfigError` if a custom verifier may be the cause.
        """
        timed_out = time.monotonic() >= self.deadline
        if self._ready:
            judgement = plain_judgement(Verdict.TIMEOUT if timed_out else Verdict.ERROR, self._extracted, self._seconds())
            had_task = self.task is not None
            self.restart()
            return judgement if had_task else None
        self._failed_starts += 1
        if timed_out or self._failed_starts == MAX_STARTS:
            failure = (
                f"was not ready after {START_TIMEOUT_S:.0f} s"
                if timed_out
                else f"died while starting, {MAX_STARTS} times in a row{self._start_error}"
            )
            memory_gib = self._settings.memory_bytes / GIB
            reason = f"a verification worker {failure}; raise judge.memory_gib={memory_gib:g}, which may be too small for it"
            if self._settings.verifier:
                raise ConfigError(_with_key(self._settings.verifier, reason))
            raise RunError(reason)
        self.restart()
        return None

    def restart(self) -> None:
        """Kill the process, with its task if it has one, and start another."""
        self.kill()
        self._start()

    def kill(self) -> None:
        """Kill the process and wait until it has exited."""
        self._process.kill()
        self._process.wait()
        self.pipe.close()

    def _seconds(self) -> float:
        """Return the seconds since the start or since the task was sent."""
        return time.monotonic() - self._started_at


def _with_key(verifier: str, reason: str) -> str:
    """Return `reason` after the key and value of the setting; a reason that already holds them begins there."""
    key = f"data.verifier={verifier}: "
    return key + reason.partition(key)[2] if key in reason else key + reason
