"""A worker process of `tandem.verify.pool`: reads (gold, response) pairs from a pipe and writes a judgement for each.

`python -m tandem.verify.worker FD SETTINGS`. The interpreter imports only the algebra or the custom verifier, so it is small
and starts in half a second. It exits when the pipe closes, or at its time limit if it is judging a response then.
"""

from __future__ import annotations

import json
import math
import os
import resource
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from typing import Any

from tandem.verify.extract import compile_pattern, final_answer
from tandem.verify.judgement import Judgement, Verdict, as_judgement, plain_judgement
from tandem.verify.load_verifier import load_verifier

ORPHAN_GRACE_S = 1.0
"""Seconds after the deadline at which the kernel ends a worker that the pool has not killed."""
MAX_SHOWN_ERRORS = 3
"""Exceptions of the verifier that one worker prints to standard error."""

Judge = Callable[[str, str], Judgement]


@dataclass(frozen=True)
class WorkerSettings:
    """The limits of a worker, and its verifier."""

    memory_bytes: int
    """size of its address space"""
    timeout_s: float
    """time limit for one response"""
    answer_pattern: str
    """see `tandem.verify.extract.compile_pattern`"""
    verifier: str
    """dotted path of a custom verifier; empty for the mathematical one"""


def main(fd: int, settings: WorkerSettings) -> None:
    """Judge the pairs that arrive on the pipe `fd` until it closes.

    The first message is `{"ready": true}`, `{"failed": error}` when the mathematical verifier cannot be loaded, or
    `{"refused": reason}` when a custom one cannot. For each pair, the mathematical verifier sends the extracted answer, so that
    the pool has it even if it kills the worker; then the judgement follows.

    The pool kills a worker that takes longer than `timeout_s` seconds for a pair. If the pool no longer exists, the kernel ends
    the worker, even during a long multiplication: by an alarm, or by a CPU time limit, which no library resets.
    """
    resource.setrlimit(resource.RLIMIT_AS, (settings.memory_bytes, settings.memory_bytes))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole process group; the pool ends its workers
    with Connection(fd) as pipe, suppress(EOFError, BrokenPipeError):  # raised after the pool exits

        def send(**message: Any) -> None:
            pipe.send_bytes(json.dumps(message).encode())

        if settings.verifier:
            judge = _custom_judge(settings.verifier, send)
        else:
            with _errors_sent(send):
                judge = _math_judge(settings.answer_pattern, send)
        send(ready=True)
        error_count = 0
        while True:
            gold, response = json.loads(pipe.recv_bytes())
            _limit_time(settings.timeout_s + ORPHAN_GRACE_S)
            try:
                judgement = judge(gold, response)
            except Exception:  # noqa: BLE001  # a verifier may raise anything; only this response is affected
                if (error_count := error_count + 1) <= MAX_SHOWN_ERRORS:
                    traceback.print_exc()
                judgement = plain_judgement(Verdict.ERROR)
            signal.setitimer(signal.ITIMER_REAL, 0)
            send(**asdict(judgement))


@contextmanager
def _errors_sent(send: Callable[..., None]) -> Iterator[None]:
    """Send an error of the block to the pool, which reports it, and exit.

    Nothing is printed to standard error in the block: libraries that lack memory print messages of their own.
    """
    with _silent_stderr():
        try:
            yield
        except Exception as error:  # noqa: BLE001  # a library that lacks memory may raise anything
            send(failed=f"{type(error).__name__}: {error}".removesuffix(": "))
            sys.exit(1)


@contextmanager
def _silent_stderr() -> Iterator[None]:
    """Discard what the block writes to standard error, if there is one."""
    if sys.stderr is None:
        yield
        return
    stderr = os.dup(sys.stderr.fileno())
    try:
        with open(os.devnull, "wb") as nothing:
            os.dup2(nothing.fileno(), sys.stderr.fileno())
        yield
    finally:
        os.dup2(stderr, sys.stderr.fileno())
        os.close(stderr)


def _limit_time(seconds: float) -> None:
    """Make the kernel end this process after `seconds`, or after `seconds` of CPU time on each core."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    usage, (_, hard) = resource.getrusage(resource.RUSAGE_SELF), resource.getrlimit(resource.RLIMIT_CPU)
    limit = math.ceil(usage.ru_utime + usage.ru_stime + seconds * len(os.sched_getaffinity(0))) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))


def _math_judge(answer_pattern: str, send: Callable[..., None]) -> Judge:
    """Return the mathematical verifier."""
    from tandem.verify.equivalence import judge  # imported here, within the memory limit
    from tandem.verify.guards import Unparsable

    judge("\\sqrt{8}", "2\\sqrt{2}")  # builds the parser's tables, before the first deadline counts
    pattern = compile_pattern(answer_pattern)

    def judge_response(gold: str, response: str) -> Judgement:
        answer = final_answer(response, pattern)
        if answer is None:
            return plain_judgement(Verdict.UNPARSABLE)
        send(extracted=answer)
        try:
            return plain_judgement(Verdict.CORRECT if judge(gold, answer) else Verdict.WRONG, answer)
        except Unparsable:
            return plain_judgement(Verdict.UNPARSABLE, answer)

    return judge_response


def _custom_judge(path: str, send: Callable[..., None]) -> Judge:
    """Return the custom verifier at `path`, or send the reason why it cannot be loaded and exit."""
    try:
        verifier = load_verifier(path)
    except BaseException as error:  # noqa: BLE001  # a module may raise anything on import
        send(refused=f"{type(error).__name__}: {error}")
        sys.exit(1)
    return lambda gold, response: as_judgement(verifier(gold, response))


if __name__ == "__main__":
    main(int(sys.argv[1]), WorkerSettings(**json.loads(sys.argv[2])))
