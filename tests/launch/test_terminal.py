"""What programs show in a terminal, and in a pipe."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support import ROOT
from tests.support.terminal import in_terminal, visible

WAITING = """
import time
from launch.status import status
with status("Starting engines", "a minute"):
    time.sleep(0.5)
print("started")
"""
FAILING = """
from launch.status import status
with status("Starting engines"):
    raise SystemExit(3)
"""
TRAINING = """
import sys
from launch.entry import exit_codes
from launch.run.console import TrainingConsole
with exit_codes(), TrainingConsole(steps=60) as console:
    for step in range(3):
        console.row({"step": step, "reward/mean": 0.5})
    raise KeyboardInterrupt("after step 2; checkpoint 2 is saved. Continue: python launch/train.py name=x resume=auto")
"""


def test_status_shows_spinner_then_duration() -> None:
    code, written = in_terminal(["-c", WAITING])
    assert code == 0
    shown = visible(written)
    assert "Starting engines (usually a minute)" in shown and "0:00:00" in shown
    assert shown.splitlines()[-2].startswith("Starting engines: 0.") and shown.splitlines()[-1] == "started"


def test_status_in_pipe_is_one_plain_line() -> None:
    printed = subprocess.run([sys.executable, "-c", WAITING], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert printed == "Starting engines (usually a minute) ...\nstarted\n"


def test_failure_ends_spinner_without_duration() -> None:
    code, written = in_terminal(["-c", FAILING])
    assert code == 3 and written.rfind("\x1b[?25h") > written.rfind("\x1b[?25l"), "the cursor is shown again"
    assert "Starting engines: " not in visible(written)


def test_interrupted_run_keeps_table_and_says_how_to_continue() -> None:
    code, written = in_terminal(["-c", TRAINING])
    assert code == 130
    end = visible(written.rpartition("\x1b[2K")[2])
    assert "senior share" in end and [line.split()[1] for line in end.splitlines() if line.startswith("│")] == ["0", "1", "2"]
    assert end.rstrip().splitlines()[-1].startswith("Interrupted after step 2; checkpoint 2 is saved. Continue: python launch/")


@pytest.mark.parametrize("mistake", ["learning_rate=1e-4", "schedule=wrod", "algo.clip_low=2"])
def test_refusal_in_terminal_is_one_message(mistake: str) -> None:
    code, written = in_terminal(["launch/train.py", mistake])
    assert code == 2 and written.startswith("train.py: ") and len(written.splitlines()) == 1 and "\x1b" not in written


def test_help_fits_terminal() -> None:
    code, written = in_terminal(["launch/train.py", "--help"])
    assert code == 0 and max(map(len, visible(written).splitlines())) <= 120
