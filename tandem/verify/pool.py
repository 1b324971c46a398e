"""Killable worker processes that judge responses: no response can hang, crash or take over the caller.

Each worker has one pipe and judges one response at a time. The deadline counts from the moment the response is sent. When a
worker dies, only its response is affected; it is judged a second time, because the response may not be the cause. With the
mathematical verifier, answers that need no algebra are judged in the caller's process. Custom verifiers and custom patterns run
in workers only: a regular expression may never end.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from multiprocessing.connection import wait
from types import TracebackType
from typing import Self

from tandem.runtime.units import GIB
from tandem.verify.extract import BOXED, Pattern, compile_pattern, final_answer
from tandem.verify.guards import Unparsable
from tandem.verify.judgement import Judgement, Verdict, plain_judgement
from tandem.verify.load_verifier import check_path
from tandem.verify.plain import settle
from tandem.verify.worker import WorkerSettings
from tandem.verify.worker_process import JudgeTask, WorkerProcess


class VerifierPool:
    """`workers` processes that judge responses, with `memory_gib` GiB of address space each and `timeout_s` seconds a response.

    `verifier` is the dotted path of a function (see `tandem.verify.load_verifier`). Empty means the mathematical verifier, for
    which `answer_pattern` says what the final answer is (see `tandem.verify.extract.compile_pattern`). The processes start at
    once; only `grade` and `wait_until_ready` wait for them. Not thread-safe.
    Raises `ValueError` when a limit is not positive, or when the pattern or the path is malformed.
    """

    def __init__(self, workers: int, timeout_s: float, memory_gib: float, answer_pattern: str = "", verifier: str = "") -> None:
        for name, value in (("workers", workers), ("timeout_s", timeout_s), ("memory_gib", memory_gib)):
            if not 0 < value < math.inf:
                raise ValueError(f"judge.{name}={value}: must be positive and finite")
        self._pattern = compile_pattern(answer_pattern)
        if verifier:
            check_path(verifier)
        self._judges_without_algebra = not verifier and self._pattern in (None, BOXED)
        settings = WorkerSettings(int(memory_gib * GIB), timeout_s, answer_pattern, verifier)
        self._workers = [WorkerProcess(settings) for _ in range(workers)]

    def grade(self, items: Sequence[tuple[str, str]]) -> list[Judgement]:
        """Return the judgements of (gold answer, response) pairs, in the order of the pairs.

        A verdict is `UNPARSABLE` when the response states no answer or an unreadable one, `TIMEOUT` when the worker was killed
        at the deadline, and `ERROR` when the verifier raised an exception or the worker died (for example at its memory limit)
        twice in a row. Raises `RunError` when a worker cannot start, and `ConfigError` when it cannot load the verifier.
        """
        judgements: dict[int, Judgement] = {}
        tasks: deque[JudgeTask] = deque()
        for index, (gold, response) in enumerate(items):
            judgement = _without_algebra(gold, response, self._pattern) if self._judges_without_algebra else None
            if judgement:
                judgements[index] = judgement
            else:
                tasks.append(JudgeTask(index, gold, response))
        if tasks:
            judgements |= self._judge_in_workers(tasks)
        return [judgements[index] for index in range(len(items))]

    def wait_until_ready(self) -> None:
        """Wait until every worker has started. Raises the errors of `grade`."""
        while starting := [worker for worker in self._workers if not worker.ready]:
            self._wait_for_messages(starting)

    def close(self) -> None:
        """Kill the worker processes and wait until they have exited. May be called again."""
        for worker in self._workers:
            worker.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _judge_in_workers(self, tasks: deque[JudgeTask]) -> dict[int, Judgement]:
        """Return the judgement of each task by its index."""
        judgements: dict[int, Judgement] = {}
        try:
            while tasks or any(worker.task for worker in self._workers):
                for worker in self._workers:
                    if tasks and worker.idle and worker.send(tasks[0]):
                        tasks.popleft()
                # `send` restarts a worker that died while idle, so that worker is no longer idle.
                for task, judgement in self._wait_for_messages([worker for worker in self._workers if not worker.idle]):
                    if judgement.verdict is Verdict.ERROR and not task.is_retry:
                        tasks.appendleft(replace(task, is_retry=True))
                    else:
                        judgements[task.index] = judgement
        finally:
            for worker in self._workers:  # After Ctrl-C or an error, a late judgement must not count for the next response.
                if worker.task:
                    worker.restart()
        return judgements

    def _wait_for_messages(self, pending: Sequence[WorkerProcess]) -> list[tuple[JudgeTask, Judgement]]:
        """Wait until a worker of `pending` sends a message, dies or misses its deadline. Return the resulting judgements."""
        judgements: list[tuple[JudgeTask, Judgement]] = []
        seconds_left = min(worker.deadline for worker in pending) - time.monotonic()
        readable = wait([worker.pipe for worker in pending], max(0.0, seconds_left))
        for worker in pending:
            task = worker.task
            if worker.pipe in readable:
                judgement = worker.receive()
            elif time.monotonic() >= worker.deadline:
                judgement = worker.replace()
            else:
                continue
            if task is not None and judgement is not None:
                judgements.append((task, judgement))
        return judgements


def check_verifier(verifier: str, memory_gib: float) -> None:
    """Load `verifier` in a worker, as a run does. Raises `ConfigError` with the reason when that fails."""
    with VerifierPool(1, timeout_s=1.0, memory_gib=memory_gib, verifier=verifier) as pool:
        pool.wait_until_ready()


def _without_algebra(gold: str, response: str, pattern: Pattern | None) -> Judgement | None:
    """Return the judgement, or None if it needs a worker.

    An exception of the verifier counts as None: the worker raises it again and returns `ERROR` for this response alone.
    """
    answer = None
    try:
        answer = final_answer(response, pattern)
        is_correct = settle(gold, answer) if answer is not None else None
    except Unparsable:
        return plain_judgement(Verdict.UNPARSABLE, answer)
    except Exception:  # noqa: BLE001  the worker raises it again and reports it
        return None
    if answer is None:
        return plain_judgement(Verdict.UNPARSABLE)
    if is_correct is None:
        return None
    return plain_judgement(Verdict.CORRECT if is_correct else Verdict.WRONG, answer)
