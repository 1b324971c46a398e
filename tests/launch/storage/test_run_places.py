"""Tests of the places of run folders, their owners, and failing folders and disks."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from launch.storage.checkpoints import Checkpoint
from launch.storage.disk import UnwritableError, wait_for_room
from launch.storage.owner import OWNER, SINCE, Owner, check_free, owned
from launch.storage.places import check_writable, named_folder
from launch.storage.resume import Resumption, find_resumption
from launch.storage.run_folder import RunFolder
from tandem.config.load import load
from tandem.config.schema import ConfigError
from tandem.records.run_record import saved_settings
from tandem.runtime.atomic_dir import written_aside
from tandem.runtime.permissions import respect_umask
from tests.support import ROOT
from tests.support.settings import settings

pytestmark = pytest.mark.seconds

HOLD = """
import sys
from pathlib import Path
from launch.storage.owner import owned
with owned(Path(sys.argv[1]), "name=run"):
    print("held", flush=True)
    sys.stdin.read()
"""


def logged(run: Path) -> list[int]:
    return [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the folder `run`."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "run")],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout and process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


# One owner


def test_second_process_is_refused_with_owner(holder: subprocess.Popen[str], tmp_path: Path) -> None:
    for refused in (lambda: RunFolder(settings(tmp_path)), lambda: check_free(tmp_path / "run", "name=run")):
        with pytest.raises(ConfigError, match=rf"name=run: .*/run is in use by process {holder.pid} on ") as error:
            refused()
        assert f"kill {holder.pid}" in str(error.value) and "remove" not in str(error.value)
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with RunFolder(settings(tmp_path)) as folder:  # the lock ended with its process
        assert json.loads((folder.path / OWNER).read_text())["pid"] == os.getpid()
    assert (folder.path / OWNER).read_text() == ""


def test_requeued_job_does_not_touch_live_run(tmp_path: Path) -> None:
    with RunFolder(settings(tmp_path)) as folder:
        for step in range(4):
            folder.log({"step": step})
        again = settings(tmp_path, resume="auto")
        with pytest.raises(ConfigError, match=f"name=run: .* is in use by process {os.getpid()} on "):
            RunFolder(again, find_resumption(again))
        folder.log({"step": 4})
    assert logged(folder.path) == [0, 1, 2, 3, 4]


def test_one_of_two_simultaneous_starts_is_refused(tmp_path: Path) -> None:
    first, second = RunFolder(settings(tmp_path)), RunFolder(settings(tmp_path))
    with first, pytest.raises(ConfigError, match="is in use by process"):
        second.__enter__()
    third = RunFolder(settings(tmp_path, resume="auto"), Resumption(first.path))
    with RunFolder(settings(tmp_path, resume="auto"), Resumption(first.path)) as folder:
        folder.log({"step": 1})
    with pytest.raises(ConfigError, match=r"another process has written to .*/run meanwhile"):
        third.__enter__()
    assert logged(first.path) == [1]


def test_owner_on_another_host_without_normal_exit_warns(tmp_path: Path) -> None:
    (tmp_path / OWNER).write_text(json.dumps({"host": "elsewhere", "pid": 7, "since": "yesterday"}))
    with owned(tmp_path, "name=run") as before:
        assert before == Owner("elsewhere", 7, "yesterday")
    with owned(tmp_path, "name=run") as before:
        assert before is None


@pytest.mark.parametrize("why", ["Permission denied", "Is a directory"])
def test_unreadable_owner_file_is_refused_with_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, why: str) -> None:
    folder, note, opened = RunFolder(settings(tmp_path)), tmp_path / "run" / OWNER, os.open

    def deny(path: Path, *arguments: Any, **named: Any) -> int:
        if path == note:
            raise PermissionError(13, why, str(note))
        return opened(path, *arguments, **named)

    if why == "Is a directory":
        note.mkdir(parents=True)
    else:  # the file of another user, which root could open
        monkeypatch.setattr("os.open", deny)
    for start in (lambda: RunFolder(settings(tmp_path)), folder.__enter__):
        with pytest.raises(ConfigError, match=rf"^name=run: {note} names the process .* \({why}.*chmod a\+rw {note}\)$"):
            start()


@pytest.mark.parametrize("live", [True, False])
def test_run_of_live_owner_is_refused_without_locks(
    holder: subprocess.Popen[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, live: bool
) -> None:
    def no_locks(descriptor: int, operation: int) -> None:
        raise OSError(37, "No locks available")

    if not live:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    monkeypatch.setattr("fcntl.flock", no_locks)
    if live:
        with pytest.raises(ConfigError, match=rf"name=run: .*/run is in use by process {holder.pid} on "):
            RunFolder(settings(tmp_path))
        return
    with RunFolder(settings(tmp_path)), pytest.raises(ConfigError, match=f"is in use by process {os.getpid()} on "):
        RunFolder(settings(tmp_path, resume="auto"), Resumption(tmp_path / "run"))


def test_reused_process_id_is_not_owner() -> None:
    own = Owner(socket.gethostname(), os.getpid(), f"{datetime.now():{SINCE}}")
    assert own.runs_here()
    assert not replace(own, since="2000-01-01 00:00:00").runs_here()
    assert not replace(own, host="elsewhere").runs_here()
    assert not replace(own, since="yesterday").runs_here()


# Names and places


@pytest.mark.parametrize("name", ["exp/run1", "run=1", "(x)", "#1", "ü", " x", "a" * 255, "...", "step-000020"])
def test_any_valid_name_starts_and_resumes(tmp_path: Path, name: str) -> None:
    with RunFolder(settings(tmp_path, name=name)) as folder:
        folder.log({"step": 1})
    again = settings(tmp_path, name=name, resume="auto")
    assert find_resumption(again).run == folder.path == tmp_path / name
    with RunFolder(again, find_resumption(again)):
        pass
    assert load(OmegaConf.create(saved_settings(folder.path / "config.yaml"))).name == name
    by_path = settings(tmp_path, name="", resume=str(folder.path))
    checkpoint = Checkpoint(folder.path / "checkpoints" / "step-000001")
    assert RunFolder(by_path, Resumption(folder.path, checkpoint)).path == folder.path


@pytest.mark.parametrize("name", ["..", "../x", "/x", "a/../../x", ".", "a" * 256, "x/" + "ü" * 128])
def test_invalid_folder_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(
        ConfigError, match=r"^name=.*: (it must name a folder in .*log.dir|a folder's name has at most 255 bytes)"
    ):
        RunFolder(settings(tmp_path, name=name))


def test_unwritable_place_is_refused(tmp_path: Path) -> None:
    (folder := tmp_path / ("long" * 10)).mkdir()
    (folder / "file").touch()
    (folder / "loop").symlink_to(folder / "loop")
    places = [*(folder / name for name in ("file", "file/below", "loop/runs")), Path("/proc/runs")]
    for place in places:
        with pytest.raises(ConfigError, match=f"^log.dir={place}: .*; name another"):
            RunFolder(settings(place))
    for key, given in (
        ("log.export_fallback", {"log": {"export_fallback": "/proc/x"}}),
        ("cache_dir", {"cache_dir": "/proc/x"}),
    ):
        with pytest.raises(ConfigError, match=f"^{key}=/proc/x: /proc/x.* cannot be written"):
            RunFolder(settings(tmp_path, **given))
    before = set(tmp_path.iterdir())
    check_writable(tmp_path / "a" / "b", "log.dir=a/b")
    assert set(tmp_path.iterdir()) == before


def test_read_only_disk_is_refused(small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises(ConfigError, match=rf"^log.dir={small_disk}: .* cannot be written .*Read-only file system"):
        named_folder(settings(small_disk), "run")


# Failing folders and disks


@pytest.mark.parametrize("again", [False, True])
def test_removed_run_folder_ends_run(tmp_path: Path, capfd: pytest.CaptureFixture[str], again: bool) -> None:
    config = settings(tmp_path, log={"dir": str(tmp_path), "tensorboard": True})
    with RunFolder(config) as folder:
        folder.log({"step": 3, "reward/mean": 0.5})
        shutil.rmtree(folder.path)
        if again:
            folder.path.mkdir()
        with pytest.raises(UnwritableError, match="/run: the run folder was removed or renamed .* ends after step 3"):
            folder.log({"step": 4, "reward/mean": 0.5})
    assert capfd.readouterr().err == "", "TensorBoard prints no warning"


def test_full_disk_delays_metrics(small_disk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = settings(small_disk, log={"dir": str(small_disk), "tensorboard": True})
    with RunFolder(config) as folder:
        folder.log({"step": 1, "reward/mean": 0.5})
        (small_disk / "fill").write_bytes(bytes(free(small_disk)))
        for step in range(2, 400):
            folder.log({"step": step, "reward/mean": 0.5})
        assert logged(folder.path)[-1] < 399
        (small_disk / "fill").unlink()
        folder.log({"step": 400, "reward/mean": 0.5})
    assert logged(folder.path) == list(range(1, 401))
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 2 and all(line.startswith(f"WARNING: the disk of {folder.path} is full; ") for line in said)


def test_unwritten_metrics_are_reported(small_disk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with RunFolder(settings(small_disk)) as folder:
        (small_disk / "fill").write_bytes(bytes(free(small_disk)))
        folder.log({"step": 1} | {f"key{i}": i for i in range(1000)})
    assert logged(folder.path) == []
    assert "lacks the last lines of metrics.jsonl" in capsys.readouterr().out


def free(disk: Path) -> int:
    return shutil.disk_usage(disk).free


def test_write_waits_for_disk_space(small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (small_disk / "fill").write_bytes(bytes(free(small_disk)))
    said: list[str] = []

    def make_room(seconds: float) -> None:
        assert seconds <= 60
        (small_disk / "fill").unlink()

    monkeypatch.setattr("launch.storage.disk.time.sleep", make_room)
    path = small_disk / "senior"
    wait_for_room(lambda: path.write_bytes(bytes(9999)), path, "the senior", 60, said.append)
    assert path.stat().st_size == 9999
    assert len(said) == 1 and said[0].startswith(f"WARNING: the senior cannot be written to {path}: [Errno 28]")


@pytest.mark.parametrize(("failure", "calls"), [(OSError(28, "full"), 3), (OSError(5, "broken"), 1)])
def test_write_waits_only_for_full_disk_and_limited_time(failure: OSError, calls: int, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("launch.storage.disk.time.sleep", lambda seconds: now.append(now[-1] + seconds))
    monkeypatch.setattr("launch.storage.disk.time.monotonic", lambda: now[-1])
    called: list[int] = []

    def fail() -> None:
        called.append(1)
        raise failure

    with pytest.raises(OSError, match=failure.strerror):
        wait_for_room(fail, Path("/x"), "it", 3.0, lambda message: None)
    assert len(called) == calls


def test_files_have_permissions_of_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with written_aside(tmp_path / "senior") as partial:
            (partial / "model.safetensors").touch(0o600)
        (tmp_path / "plain").touch()
    finally:
        os.umask(before)
    assert (tmp_path / "senior" / "model.safetensors").stat().st_mode == (tmp_path / "plain").stat().st_mode
    respect_umask(tmp_path)
    (tmp_path / "other").touch()
    assert (tmp_path / "plain").stat().st_mode == (tmp_path / "other").stat().st_mode
