"""Tests of the final senior on a disk without room for it."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from launch.run.export import export_senior
from launch.storage.checkpoints import DriverState
from launch.storage.disk import UnwritableError
from launch.storage.run_folder import RunFolder
from tandem.runtime.disk import require_room
from tandem.staleness import StreamPosition
from tests.support.settings import settings


class Weights:
    """A learner that exports `nbytes` bytes."""

    def __init__(self, nbytes: int) -> None:
        self._nbytes = nbytes

    def export(self, path: Path) -> None:
        require_room(path, self._nbytes)
        (path / "model.safetensors").write_bytes(bytes(self._nbytes))


@pytest.fixture
def run(small_disk: Path) -> Iterator[RunFolder]:
    """An open run folder on a disk with 64 KiB left."""
    with RunFolder(settings(small_disk)) as folder:
        folder.log({"step": 5})
        (small_disk / "fill").write_bytes(bytes(shutil.disk_usage(small_disk).free - 65536))
        yield folder


def test_export_waits_for_room(run: RunFolder, small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr("launch.storage.disk.time.sleep", lambda seconds: (small_disk / "fill").unlink())
    senior = export_senior(Weights(500_000), settings(small_disk), run, said.append)
    assert senior == run.senior and (senior / "model.safetensors").stat().st_size == 500_000
    (warning,) = said
    assert warning.startswith(
        f"WARNING: the senior cannot be written to {senior}: [Errno 28] 0.5 MiB are needed and 0.1 MiB are free"
    )
    assert "0.4 MiB are missing. Free space: retrying for 600 s" in warning


def test_export_uses_fallback_without_room(run: RunFolder, small_disk: Path, tmp_path: Path) -> None:
    said: list[str] = []
    log = {"dir": str(small_disk), "export_wait_s": 0, "export_fallback": str(tmp_path / "kept")}
    config = settings(small_disk, log=log)
    for name in ("run", "run-2"):
        senior = export_senior(Weights(500_000), config, run, said.append)
        assert senior == tmp_path / "kept" / name and (senior / "model.safetensors").stat().st_size == 500_000
        assert not run.senior.exists() and f"it is written to {senior} instead" in said[-1]


def test_failed_export_names_remaining_checkpoint(run: RunFolder, small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = settings(small_disk, log={"dir": str(small_disk), "export_wait_s": 0, "export_fallback": "/proc/none"})
    with pytest.raises(UnwritableError, match=r"/run/senior: .* are missing; nor to /proc/none/run .*its weights are lost"):
        export_senior(Weights(500_000), config, run, lambda message: None)
    run.checkpoints.save(DriverState(5, StreamPosition()), run.config, lambda folder: None)
    for program, command in (("train", "python launch/train.py seed=2 resume=.*/run"), ("experiment", "the same command")):
        monkeypatch.setattr(sys, "argv", [f"launch/{program}.py", "seed=2", "name=run"])
        end = f"free space, then resume the run: {command}$"
        with pytest.raises(UnwritableError, match=rf"Its weights are in .*step-000005: {end}"):
            export_senior(Weights(500_000), config, run, lambda message: None, elsewhere=False)
    run.rows.append({"step": 7})
    with pytest.raises(UnwritableError, match=rf"is of step 5, and the run reached step 7: {end}"):
        export_senior(Weights(500_000), config, run, lambda message: None, elsewhere=False)
