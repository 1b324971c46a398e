"""Tests of the watchdog."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator

import psutil
import pytest

from launch.run.watchdog import BESIDE_PYTHON, Watchdog, where

SLEEPER = "import time\ndef waits_for_godot():\n    print('here', flush=True)\n    time.sleep(1000)\nwaits_for_godot()"


@pytest.fixture
def sleeper() -> Iterator[psutil.Process]:
    """A process that waits."""
    process = subprocess.Popen([sys.executable, "-c", SLEEPER], stdout=subprocess.PIPE, text=True)
    assert process.stdout and process.stdout.readline()
    yield psutil.Process(process.pid)
    process.kill()
    process.wait()


def wait_for(said: list[str]) -> None:
    deadline = time.monotonic() + 30
    while not said and time.monotonic() < deadline:
        time.sleep(0.05)


def test_stall_is_reported_with_every_process(sleeper: psutil.Process) -> None:
    said: list[str] = []
    with Watchdog(0.3, lambda: {"learner rank 0": sleeper}, said.append):
        wait_for(said)
    assert "no step has finished for 0 s (guard.stall_s=0.3)" in said[0]
    assert "wait_for(said)" in said[0], "the stack of this thread"
    assert f"-- learner rank 0: process {sleeper.pid}" in said[0]


def test_no_report_while_steps_finish() -> None:
    said: list[str] = []
    with Watchdog(1.0, dict, said.append) as watchdog:
        for _ in range(8):
            time.sleep(0.2)
            watchdog.alive()
    assert not said


@pytest.mark.skipif(not (shutil.which("py-spy", path=BESIDE_PYTHON) or shutil.which("py-spy")), reason="needs py-spy")
def test_py_spy_reports_function_of_process(sleeper: psutil.Process) -> None:
    if "waits_for_godot" not in (seen := where(sleeper)):
        assert "Permission" in seen or "ptrace" in seen, seen
        pytest.skip("needs the right to look into processes")


def test_ended_process_is_reported_as_gone(sleeper: psutil.Process) -> None:
    sleeper.kill()
    sleeper.wait()
    assert where(sleeper) == "gone"
