"""Programs in a pseudo-terminal."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from tests.support import ROOT

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def enter_terminal(descriptor: int) -> None:
    """Make the terminal `descriptor` this process's own, where Ctrl-C interrupts it: a shell's background jobs ignore that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.login_tty(descriptor)


def in_terminal(
    arguments: Sequence[str],
    environment: Mapping[str, str] | None = None,
    *,
    keys: bytes = b"",
    after: str = "",
    check: Callable[[int], None] = lambda pid: None,
) -> tuple[int, str]:
    """Run Python with `arguments` in a terminal of 120 columns; return its exit code and all that it wrote.

    As soon as it has written `after`, call `check` with its process id and type `keys`.
    """
    ours, theirs = pty.openpty()
    variables = {"TERM": "xterm-256color", "COLUMNS": "120", "LINES": "40", "PYTHONPATH": str(ROOT), **(environment or {})}
    with subprocess.Popen(
        [sys.executable, *arguments], cwd=ROOT, env=os.environ | variables, preexec_fn=partial(enter_terminal, theirs)
    ) as program:
        os.close(theirs)
        written = b""
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:  # Linux's sign that the program has closed the terminal
                part = b""
            if not part:
                break
            written += part
            if keys and after in visible(written.decode(errors="ignore")):
                try:
                    check(program.pid)
                except BaseException:
                    os.killpg(program.pid, signal.SIGKILL)
                    print(visible(written.decode(errors="replace")))
                    raise
                os.write(ours, keys)
                keys = b""
    os.close(ours)
    # The terminal may echo a key within a character.
    return program.returncode, written.decode(errors="replace").replace("\r\n", "\n")


def visible(written: str) -> str:
    """Return what a program wrote without escape sequences."""
    return ESCAPES.sub("", written)
