"""Name another Python for Ray's workers: Ray calls what RAY_RUNTIME_ENV_HOOK names wherever a cluster is started or joined."""

from __future__ import annotations

import os
from typing import Any

PYTHON = "TANDEM_TESTS_PYTHON"
"""The environment variable with the program that Ray starts its workers by. It takes the arguments of `python`."""


def with_preloaded_python(runtime_env: dict[str, Any] | None) -> dict[str, Any]:
    """Return Ray's runtime environment `runtime_env` with the program for its workers."""
    return {"py_executable": os.environ[PYTHON]} | (runtime_env or {})
