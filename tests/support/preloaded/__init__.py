"""Start the Python processes of tests as forks of a server that has imported the large libraries, once for all tests.

Importing vLLM or DeepSpeed takes a core five to ten seconds, and the tests with engines start some sixty processes that do.
Ray's workers, what `multiprocessing` starts in them, and the programs that tests start by `python()` are therefore forks of one
process, which has a single Python thread. Other programs import as usual, and so does everything on a machine with a GPU.
"""

from __future__ import annotations

import multiprocessing.spawn
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from launch.cluster.environment import environment
from tests.support.preloaded.python import PYTHON, with_preloaded_python

HERE = Path(__file__).parent


@contextmanager
def preloaded_python() -> Iterator[subprocess.Popen[bytes]]:
    """Let Ray, `multiprocessing` and `python()` start processes as forks of the server, which is yielded, during the block.

    A fork has the environment of its starter, but what a library reads from it when it is imported is that of this process now.
    """
    # The path of a socket must be short.
    with TemporaryDirectory(prefix="tandem-python-", dir="/tmp") as folder, socket.socket(socket.AF_UNIX) as listener:
        address, python = Path(folder, "server"), Path(folder, "python")
        listener.bind(str(address))
        listener.listen(64)
        client = shlex.join([sys.executable, "-ISE", str(HERE / "client.py"), str(address)])
        python.write_text(f'#!/bin/sh\nexec {client} "$@"\n', encoding="utf-8")
        python.chmod(0o700)
        server = [sys.executable, str(HERE / "server.py"), str(listener.fileno()), str(python)]
        hook = f"{with_preloaded_python.__module__}.{with_preloaded_python.__name__}"
        before = multiprocessing.spawn.get_executable()
        with (
            subprocess.Popen(server, stdin=subprocess.PIPE, pass_fds=[listener.fileno()]) as process,
            # Engines leave their sockets, which are removed with this folder.
            environment(RAY_RUNTIME_ENV_HOOK=hook, VLLM_RPC_BASE_PATH=folder, **{PYTHON: str(python)}),
        ):
            listener.close()  # clients of a server that has ended are refused
            multiprocessing.set_executable(str(python))
            try:
                yield process
            finally:
                multiprocessing.set_executable(before)
