"""What programs show in a terminal, and in a pipe."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import ROOT
from tests.support.terminal import in_terminal, visible

pytestmark = pytest.mark.seconds

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


@pytest.mark.parametrize(
    "command",
    [
        ["launch/train.py", "learning_rate=1e-4"],
        ["launch/train.py", "schedule=wrod"],
        ["launch/train.py", "algo.clip_low=2"],
        ["launch/train.py", "--nothing"],
        ["launch/train.py", "learner=3"],
        ["-m", "launch.cli", "train", "mistyped=1"],
        ["launch/watch.py", "nowhere"],
        ["launch/compare.py", "nowhere", "nothing"],
        ["launch/text_model.py", "nowhere", "tests"],
    ],
)
def test_refusal_in_terminal_is_one_message(command: list[str]) -> None:
    program = "train.py" if "train" in command else Path(command[0]).name
    code, written = in_terminal(command)
    assert code == 2 and written.startswith(f"{program}: ") and len(written.splitlines()) == 1 and "\x1b" not in written


def test_help_fits_terminal() -> None:
    code, written = in_terminal(["launch/train.py", "--help"])
    assert code == 0 and max(map(len, visible(written).splitlines())) <= 120
