"""A test that the tests of `make test-fast` import no vLLM, which takes seconds."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support import ROOT


@pytest.mark.seconds
def test_unmarked_modules_do_not_import_vllm() -> None:
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-m", "not slow and not engines and not seconds"]
    collected = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert collected.returncode == 0, collected.stdout[-1000:]
