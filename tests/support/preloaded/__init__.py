"""Start the Python processes of tests as forks of a server that has imported the large libraries, once for all tests.

Importing vLLM or DeepSpeed takes a core five to ten seconds, and the tests with engines start some sixty processes that do.
Ray's workers, and what `multiprocessing` starts in them, are therefore forks of one process, which has a single Python thread.
Programs that tests start by themselves import as usual, and so does everything on a machine with a GPU.
"""

from __future__ import annotations

import multiprocessing.spawn
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from launch.cluster.environment import environment
from tests.support.preloaded.ray_hook import PYTHON, with_preloaded_python

HERE = Path(__file__).parent


@contextmanager
def preloaded_python() -> Iterator[None]:
    """Let Ray and `multiprocessing` start processes as forks during the block.

    A fork has the environment of its starter, but what a library reads from it when it is imported is that of this process now.
    """
    with TemporaryDirectory(prefix="tandem-python-") as folder:
        address, python = Path(folder, "server"), Path(folder, "python")
        python.write_text(f'#!/bin/sh\nexec {sys.executable} -ISE {HERE / "client.py"} {address} "$@"\n', encoding="utf-8")
        python.chmod(0o700)
        hook = f"{with_preloaded_python.__module__}.{with_preloaded_python.__name__}"
        before = multiprocessing.spawn.get_executable()
        with (
            subprocess.Popen([sys.executable, str(HERE / "server.py"), str(address), str(python)], stdin=subprocess.PIPE),
            environment(RAY_RUNTIME_ENV_HOOK=hook, **{PYTHON: str(python)}),
        ):
            multiprocessing.set_executable(str(python))
            try:
                yield
            finally:
                multiprocessing.set_executable(before)
