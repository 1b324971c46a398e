"""Tests of the removal of what a killed run leaves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from launch.cluster.locks import claimed_file, claimed_folder
from tests.support.waiting import wait_until

pytestmark = pytest.mark.seconds

RUN = """
import os, subprocess, sys
from pathlib import Path
from launch.cluster.locks import claimed_file, claimed_folder
base = Path(sys.argv[1])
with claimed_folder(base) as folder, claimed_file(base, ".weights") as file:
    (folder / "socket").touch()
    file.write_bytes(b"weights")
    child = subprocess.Popen(["sleep", "1000"], env=os.environ | {"TMPDIR": str(folder)}, start_new_session=True)
    print(folder, file, child.pid, flush=True)
    sys.stdin.read()
"""


class Run:
    """Start a run in a separate process that holds a folder and a file and has a child process."""

    def __init__(self, base: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", RUN, str(base)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdin and self.process.stdout
        folder, file, child = self.process.stdout.readline().split()
        self.folder, self.file, self.child = Path(folder), Path(file), psutil.Process(int(child))
        # `Popen` returns when the child begins to execute its program, just before its environment can be read.
        wait_until(lambda: self.child.environ().get("TMPDIR") == folder)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    run = Run(tmp_path)
    yield run
    run.kill()
    if run.child.is_running():
        run.child.kill()


def claim(base: Path) -> None:
    with claimed_folder(base) as folder, claimed_file(base, ".weights") as file:
        assert folder.is_dir() and file.is_file()
    assert not folder.exists() and not file.exists()


def test_remains_of_killed_run_are_removed(run: Run, tmp_path: Path) -> None:
    run.kill()
    assert (run.folder / "socket").exists() and run.file.exists() and run.child.is_running()
    claim(tmp_path)
    assert not any(tmp_path.iterdir())
    assert not run.child.is_running()


def test_process_with_id_of_ended_one_is_found(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids are given again. psutil keeps what it knows about the process that had one, until it is told to forget it."""
    (known,) = (process for process in psutil.process_iter() if process.pid == run.child.pid)
    monkeypatch.setattr(known, "_ident", (known.pid, 0.0))  # as if it had started in 1970
    assert not known.is_running()
    run.kill()
    claim(tmp_path)
    assert not run.child.is_running()


def test_live_run_is_not_touched(run: Run, tmp_path: Path) -> None:
    claim(tmp_path)
    assert (run.folder / "socket").exists() and run.file.read_bytes() == b"weights" and run.child.is_running()
    assert run.process.stdin
    run.process.stdin.close()
    assert run.process.wait() == 0
    assert not any(tmp_path.iterdir())


def test_unlocked_files_of_others_are_not_touched(tmp_path: Path) -> None:
    os.mkdir(tmp_path / "tandem-else")
    (tmp_path / "tandem-0123.weights").touch()
    claim(tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
