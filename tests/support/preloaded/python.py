"""Name the Python that forks, for programs, jobs and Ray's workers.

Ray calls `with_preloaded_python` through RAY_RUNTIME_ENV_HOOK whenever a cluster is started or joined.
"""

from __future__ import annotations

import os
import sys
from typing import Any

PYTHON = "TANDEM_TESTS_PYTHON"
"""The environment variable with the program that forks. It takes the arguments of `python`."""


def python() -> str:
    """Return the program that forks, or this Python where no server runs, as on a machine with a GPU."""
    return os.environ.get(PYTHON, sys.executable)


def with_preloaded_python(runtime_env: dict[str, Any] | None) -> dict[str, Any]:
    """Return Ray's runtime environment `runtime_env` with that program for its workers."""
    return {"py_executable": python()} | (runtime_env or {})
