"""A worker process of `tandem.verify.pool`: reads (gold, response) pairs from a pipe and writes a judgement for each.

`python -m tandem.verify.worker FD SETTINGS`. It is a bare interpreter that imports no more than algebra, or a verifier of the
user's own, so it is small and starts in half a second. It ends when the pipe closes, or soon after if it is computing just
then.
"""

from __future__ import annotations

import json
import math
import os
import resource
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from typing import Any

from tandem.verify.extract import compile_pattern, final_answer
from tandem.verify.judgement import Judgement, Verdict, as_judgement, plain_judgement
from tandem.verify.load_verifier import load_verifier

ORPHAN_GRACE_S = 1.0
"""How long past the deadline a worker lives on if nobody kills it."""
SHOWN_FAILURES = 3
"""So many of a worker's failures are told to standard error."""

Judge = Callable[[str, str], Judgement]


@dataclass(frozen=True)
class Settings:
    """What a worker is told as it starts."""

    memory_bytes: int
    """its address space"""
    timeout_s: float
    """the deadline of one answer"""
    answer_pattern: str
    """see `tandem.verify.extract.compile_pattern`"""
    verifier: str
    """the dotted path of a verifier, or empty for the mathematical one"""


def main(fd: int, settings: Settings) -> None:
    """Serves the pipe on `fd` until it closes.

    The first message is `{"ready": true}`, or `{"refused": reason}` when the verifier cannot be loaded. Then come, for each
    pair, the extracted answer (if it is extracted before it is judged), so that it outlives a worker that is killed, and the
    judgement.

    A worker that takes longer than `timeout_s` seconds over a pair is killed by the pool. Should the pool be gone, the kernel
    ends it, even in the middle of a long multiplication: by an alarm, or by a limit on its CPU time, which no library resets.
    """
    resource.setrlimit(resource.RLIMIT_AS, (settings.memory_bytes, settings.memory_bytes))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole process group; the pool decides what becomes of us
    with Connection(fd) as pipe, suppress(EOFError, BrokenPipeError):  # raised when the pool is gone

        def tell(**message: Any) -> None:
            pipe.send_bytes(json.dumps(message).encode())

        judge = _by_dotted_path(settings.verifier, tell) if settings.verifier else _by_algebra(settings.answer_pattern, tell)
        tell(ready=True)
        failures = 0
        while True:
            gold, response = json.loads(pipe.recv_bytes())
            _limit_time(settings.timeout_s + ORPHAN_GRACE_S)
            try:
                judgement = judge(gold, response)
            except Exception:  # noqa: BLE001  # a verifier may raise anything; it costs this answer only
                if (failures := failures + 1) <= SHOWN_FAILURES:
                    traceback.print_exc()
                judgement = plain_judgement(Verdict.ERROR)
            signal.setitimer(signal.ITIMER_REAL, 0)
            tell(**asdict(judgement))


def _limit_time(seconds: float) -> None:
    """Lets the kernel end this process after so many seconds, or after so many of computing on each core."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    used, (_, most) = resource.getrusage(resource.RUSAGE_SELF), resource.getrlimit(resource.RLIMIT_CPU)
    limit = math.ceil(used.ru_utime + used.ru_stime + seconds * len(os.sched_getaffinity(0))) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (limit if most == resource.RLIM_INFINITY else min(limit, most), most))


def _by_algebra(answer_pattern: str, tell: Callable[..., None]) -> Judge:
    """The mathematical verifier."""
    from tandem.verify.equivalence import judge  # only now, within the limit
    from tandem.verify.plain import Unparsable

    judge("\\sqrt{8}", "2\\sqrt{2}")  # what the first answer would else wait for: the parser builds its tables
    pattern = compile_pattern(answer_pattern)

    def judged(gold: str, response: str) -> Judgement:
        answer = final_answer(response, pattern)
        if answer is None:
            return plain_judgement(Verdict.UNPARSABLE)
        tell(extracted=answer)
        try:
            return plain_judgement(Verdict.CORRECT if judge(gold, answer) else Verdict.WRONG, answer)
        except Unparsable:
            return plain_judgement(Verdict.UNPARSABLE, answer)

    return judged


def _by_dotted_path(path: str, tell: Callable[..., None]) -> Judge:
    """A verifier of the user's."""
    try:
        verifier = load_verifier(path)
    except BaseException as error:  # noqa: BLE001  # whatever the user's module raises as it is imported
        tell(refused=f"{type(error).__name__}: {error}")
        sys.exit(1)
    return lambda gold, response: as_judgement(verifier(gold, response))


if __name__ == "__main__":
    main(int(sys.argv[1]), Settings(**json.loads(sys.argv[2])))
