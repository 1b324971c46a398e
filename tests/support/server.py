"""launch/serve.py and launch/write.py as a user starts them, on the offline base model."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from tests.support import ROOT

EXIT_TIMEOUT_S = 60


class ServerProcess:
    """A running server."""

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self.process, self.url = process, url

    def stop(self) -> int:
        """End it by SIGTERM and return its exit code; check that it leaves no process."""
        family = psutil.Process(self.process.pid).children(recursive=True)
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(EXIT_TIMEOUT_S)
        _, alive = psutil.wait_procs(family, timeout=60)
        assert not alive
        return code


@contextmanager
def running_server(
    folder: Path, *overrides: str, program: str = "launch/serve.py", **environment: str
) -> Iterator[ServerProcess]:
    """Start a server at any free port, with its logs in `folder`; end it after the block."""
    command = [sys.executable, program, "serve.port=0", f"log.dir={folder}", *overrides]
    with (folder / "server.log").open("w+") as log:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,
        )
        try:
            yield ServerProcess(process, _address(process, log.name))
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                process.wait(EXIT_TIMEOUT_S)


def _address(process: subprocess.Popen[str], log: str) -> str:
    """Return the address that the server prints when it listens. pytest's own timeout ends the wait."""
    assert process.stdout is not None
    for line in process.stdout:
        if match := re.search(r"(http://[^/\s]+)", line):
            return match[1]
    raise AssertionError(f"the server ended: {Path(log).read_text()[-3000:]}")
