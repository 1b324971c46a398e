"""The cause of an engine's death as its parent sees it: the exit code, and the last error that the engine logged."""

from __future__ import annotations

import os
import re
import stat
from multiprocessing.process import BaseProcess

from tandem.runtime.exit_status import describe_exit

EXIT_TIMEOUT_S = 2.0
"""The time that a process has to exit after vLLM reported it dead."""
TAIL_BYTES = 256 << 10
"""The length of the end of the log that is searched."""
_ERROR = re.compile(r"(?:[\w.]+\.)?[A-Z]\w*(?:Error|Exception|Interrupt)\b.*")
"""The line of a traceback that names the exception."""


def cause_of_death(process: BaseProcess) -> str:
    """Return in one line why `process`, an engine of this process, died. Waits `EXIT_TIMEOUT_S` for its exit code."""
    process.join(EXIT_TIMEOUT_S)
    code = process.exitcode
    cause = "vLLM reported it dead, and its process has not exited" if code is None else describe_exit(code)
    error = last_error(_log_tail(), process.pid)
    return f"{cause}: {error}" if error else cause


def last_error(log: str, pid: int | None) -> str:
    """Return the last exception that process `pid` logged in `log`, in vLLM's format; empty if there is none."""
    mark = f"pid={pid})"
    lines = (line.partition("] ")[2] for line in log.splitlines() if mark in line)
    errors = [line.strip() for line in lines if _ERROR.fullmatch(line.strip())]
    return errors[-1] if errors else ""


def _log_tail() -> str:
    """Return the end of the file that this process and its engines print to; empty if that is no file."""
    if not stat.S_ISREG(os.fstat(1).st_mode):
        return ""
    try:
        with open("/proc/self/fd/1", "rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES))
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""
