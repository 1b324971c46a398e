"""Why an engine's process died, as far as its parent can tell: its exit code, and the last error that it logged."""

from __future__ import annotations

import os
import re
import signal
import stat
from multiprocessing.process import BaseProcess

EXIT_TIMEOUT_S = 2.0
"""How long a process that has reported its death may take to exit."""
TAIL_BYTES = 256 << 10
"""The end of the log that is searched."""
_ERROR = re.compile(r"(?:[\w.]+\.)?[A-Z]\w*(?:Error|Exception|Interrupt)\b.*")
"""The line of a traceback that names the exception."""


def cause_of_death(process: BaseProcess) -> str:
    """Return one line that says why `process`, an engine of this process, died. Waits `EXIT_TIMEOUT_S` for its exit code."""
    process.join(EXIT_TIMEOUT_S)
    code = process.exitcode
    if code is None:
        how = "it reported its death"
    elif code < 0:
        how = f"killed by {signal.Signals(-code).name}"
    else:
        how = f"exit code {code}"
    error = last_error(_logged(), process.pid)
    return f"{how}: {error}" if error else how


def last_error(log: str, pid: int | None) -> str:
    """Return the last exception that process `pid` logged in `log`, in vLLM's format; empty if there is none."""
    mark = f"pid={pid})"
    lines = (line.partition("] ")[2] for line in log.splitlines() if mark in line)
    errors = [line.strip() for line in lines if _ERROR.fullmatch(line.strip())]
    return errors[-1] if errors else ""


def _logged() -> str:
    """Return the end of the file that this process and its engines print to; empty if they print to none."""
    if not stat.S_ISREG(os.fstat(1).st_mode):
        return ""
    try:
        with open("/proc/self/fd/1", "rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES))
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""
