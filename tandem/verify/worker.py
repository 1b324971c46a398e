"""A worker process of `tandem.verify.pool`: reads (gold, answer) pairs from a pipe and writes one verdict for each.

`python -m tandem.verify.worker FD MEMORY_BYTES TIMEOUT_S`. It is a bare interpreter that imports no more than algebra, so it is
small and starts in half a second. It ends when the pipe closes, or soon after if it is computing just then.
"""

from __future__ import annotations

import json
import logging
import resource
import signal
import sys
from contextlib import suppress
from multiprocessing.connection import Connection

READY = b"ready"
"""The first message: the imports are done."""
ORPHAN_GRACE_S = 1.0
"""How long past the deadline a worker lives on if nobody kills it."""


def main(fd: int, memory_bytes: int, timeout_s: float) -> None:
    """Serves the pipe on `fd` until it closes, within an address space of `memory_bytes`.

    A worker that takes longer than `timeout_s` seconds over a pair is killed by the pool. Should the pool be gone, an alarm
    ends it: the kernel acts on that even in the middle of a long multiplication.
    """
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole process group; the pool decides what becomes of us
    from tandem.verify.equivalence import judge  # only now, within the limit
    from tandem.verify.plain import Unparsable

    logging.getLogger("math_verify").setLevel(logging.ERROR)  # it warns that its own time limit is off
    with Connection(fd) as pipe, suppress(EOFError, BrokenPipeError):  # raised when the pool is gone
        pipe.send_bytes(READY)
        while True:
            gold, answer = json.loads(pipe.recv_bytes())
            signal.setitimer(signal.ITIMER_REAL, timeout_s + ORPHAN_GRACE_S)
            try:
                verdict = "correct" if judge(gold, answer) else "wrong"
            except Unparsable:
                verdict = "unparsable"
            signal.setitimer(signal.ITIMER_REAL, 0)
            pipe.send_bytes(verdict.encode())


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
