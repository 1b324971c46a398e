"""Killable worker processes that judge responses: nothing a response contains can hang, crash or take over the caller.

Each worker has a pipe of its own and one response at a time: a deadline counts from the moment the response is handed over, and
the death of a worker concerns nothing but that response, which is handed over once more: it may not have died of it. With the
mathematical verifier, what needs no algebra is settled here and never reaches a worker. A verifier of the user's own runs in
workers only, and so does a task's own pattern: a regular expression may take for ever.
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

from tandem.verify.extract import compile_pattern, final_answer
from tandem.verify.judgement import Judgement, Verdict, plain_judgement
from tandem.verify.load_verifier import check_path
from tandem.verify.plain import Unparsable, settle
from tandem.verify.worker import Settings
from tandem.verify.worker_process import GIB, Task, WorkerProcess


class VerifierPool:
    """Judges responses in `workers` processes, each with `memory_gib` GiB of address space and `timeout_s` seconds a response.

    `verifier` is the dotted path of a function (see `tandem.verify.load_verifier`); empty means the mathematical verifier, for
    which `answer_pattern` may be a regular expression whose first group is the final answer. The processes start at once and
    are waited for only when one is needed. Not for use by several threads at a time.
    Raises `ValueError` when a limit is not positive, or pattern or path are malformed.
    """

    def __init__(self, workers: int, timeout_s: float, memory_gib: float, answer_pattern: str = "", verifier: str = "") -> None:
        for name, value in (("workers", workers), ("timeout_s", timeout_s), ("memory_gib", memory_gib)):
            if not 0 < value < math.inf:
                raise ValueError(f"judge.{name}={value}: must be positive and finite")
        compile_pattern(answer_pattern)
        if verifier:
            check_path(verifier)
        self._settles = not (answer_pattern or verifier)
        settings = Settings(int(memory_gib * GIB), timeout_s, answer_pattern, verifier)
        self._workers = [WorkerProcess(settings) for _ in range(workers)]

    def grade(self, items: Sequence[tuple[str, str]]) -> list[Judgement]:
        """The judgements of (gold answer, response) pairs, in the order of the pairs.

        A verdict is `UNPARSABLE` when the response states no answer or one that cannot be read, `TIMEOUT` when the worker was
        killed at the deadline, `ERROR` when twice in a row the verifier raised an exception or the worker died (of its memory
        limit, say). Raises `RuntimeError` when a worker cannot start, `ValueError` when it cannot load the verifier.
        """
        judgements: dict[int, Judgement] = {}
        tasks: deque[Task] = deque()
        for index, (gold, response) in enumerate(items):
            judgement = _without_algebra(gold, response) if self._settles else None
            if judgement:
                judgements[index] = judgement
            else:
                tasks.append(Task(index, gold, response))
        if tasks:
            judgements |= self._in_workers(tasks)
        return [judgements[index] for index in range(len(items))]

    def wait_until_ready(self) -> None:
        """Waits until every worker has started; raises as `grade` does."""
        while starting := [worker for worker in self._workers if not worker.ready]:
            self._attend(starting)

    def close(self) -> None:
        """Ends the worker processes; returns when they are gone. May be called again."""
        for worker in self._workers:
            worker.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _in_workers(self, tasks: deque[Task]) -> dict[int, Judgement]:
        judgements: dict[int, Judgement] = {}
        try:
            while tasks or any(worker.task for worker in self._workers):
                for worker in self._workers:
                    if tasks and worker.idle and worker.give(tasks[0]):
                        tasks.popleft()
                # A worker that has died while idle is found out on handing it a task, and is then starting again, so not idle.
                for task, judgement in self._attend([worker for worker in self._workers if not worker.idle]):
                    if judgement.verdict is Verdict.ERROR and not task.again:
                        tasks.appendleft(replace(task, again=True))
                    else:
                        judgements[task.index] = judgement
        finally:
            for worker in self._workers:  # after Ctrl-C or an error: a late judgement must not be taken for the next response's
                if worker.task:
                    worker.restart()
        return judgements

    def _attend(self, pending: Sequence[WorkerProcess]) -> list[tuple[Task, Judgement]]:
        """Waits until a worker of `pending` says something, dies or is late; returns the judgements this brings."""
        judgements: list[tuple[Task, Judgement]] = []
        patience = min(worker.deadline for worker in pending) - time.monotonic()
        readable = wait([worker.pipe for worker in pending], max(0.0, patience))
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
    """Loads `verifier` in a worker, as a run would. Raises `ValueError` when that fails, with the reason."""
    with VerifierPool(1, timeout_s=1.0, memory_gib=memory_gib, verifier=verifier) as pool:
        pool.wait_until_ready()


def _without_algebra(gold: str, response: str) -> Judgement | None:
    """Return the judgement where it takes no worker to tell.

    A fault of the verifier is left to a worker, where it becomes the verdict `ERROR` on this response alone.
    """
    answer = None
    try:
        answer = final_answer(response)
        settled = settle(gold, answer) if answer is not None else None
    except Unparsable:
        return plain_judgement(Verdict.UNPARSABLE, answer)
    except Exception:  # noqa: BLE001  whatever it is, the worker meets it again and reports it
        return None
    if answer is None:
        return plain_judgement(Verdict.UNPARSABLE)
    if settled is None:
        return None
    return plain_judgement(Verdict.CORRECT if settled else Verdict.WRONG, answer)
