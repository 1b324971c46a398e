"""Tests of folders that are written atomically and detect corruption."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.runtime.atomic_dir import MANIFEST, find_corruption, seal, written_aside
from tandem.runtime.disk import disk_full

FILES = {"state.json": b"{}", "learner/weights.pt": bytes(range(256)) * 5, "learner/empty": b""}


def fill(folder: Path) -> None:
    for name, content in FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sealed") / "step"
    with written_aside(path) as partial:
        fill(partial)
        seal(partial)
    return path


def test_complete_folder_is_intact(sealed: Path) -> None:
    assert find_corruption(sealed) is None
    assert list(sealed.parent.iterdir()) == [sealed]


@given(name=st.sampled_from(["state.json", "learner/weights.pt", MANIFEST]), data=st.data())
def test_any_flipped_bit_is_detected(sealed: Path, name: str, data: st.DataObject) -> None:
    whole = (sealed / name).read_bytes()
    place, bit = data.draw(st.integers(0, len(whole) - 1)), data.draw(st.integers(0, 7))
    (sealed / name).write_bytes(whole[:place] + bytes([whole[place] ^ 1 << bit]) + whole[place + 1 :])
    try:
        wrong = find_corruption(sealed)
    finally:
        (sealed / name).write_bytes(whole)
    # Whitespace of the manifest may change without effect.
    assert (wrong and name in wrong) or (name == MANIFEST and not whole[place : place + 1].strip())


@given(name=st.sampled_from(["state.json", "learner/weights.pt", MANIFEST]), data=st.data())
def test_any_truncation_is_detected(sealed: Path, name: str, data: st.DataObject) -> None:
    whole = (sealed / name).read_bytes()
    left = data.draw(st.integers(0, len(whole) - 1))
    (sealed / name).write_bytes(whole[:left])
    try:
        wrong = find_corruption(sealed)
    finally:
        (sealed / name).write_bytes(whole)
    assert wrong and name in wrong


@pytest.mark.parametrize("name", [*FILES, MANIFEST])
def test_missing_file_is_detected(sealed: Path, tmp_path: Path, name: str) -> None:
    shutil.copytree(sealed, copy := tmp_path / "copy")
    (copy / name).unlink()
    assert find_corruption(copy) == f"{name} is missing"


def test_failed_write_keeps_previous_folder(tmp_path: Path) -> None:
    (tmp_path / "step").mkdir()
    (tmp_path / "step" / "old").touch()

    def fail() -> None:
        with written_aside(tmp_path / "step") as partial:
            fill(partial)
            raise ValueError("half-way")

    with pytest.raises(ValueError, match="half-way"):
        fail()
    assert [path.name for path in tmp_path.rglob("*")] == ["step", "old"]
    with written_aside(tmp_path / "step") as partial:
        fill(partial)
    assert not (tmp_path / "step" / "old").exists() and (tmp_path / "step" / "state.json").exists()


def test_remains_of_killed_run_are_replaced(tmp_path: Path) -> None:
    (tmp_path / "step.partial").mkdir()
    (tmp_path / "step.partial" / "old").touch()
    with written_aside(tmp_path / "step") as partial:
        assert not list(partial.iterdir())
    assert [path.name for path in tmp_path.iterdir()] == ["step"]


def test_full_disk_is_distinguished_from_other_errors(small_disk: Path) -> None:
    with pytest.raises(OSError, match="No space left") as full, written_aside(small_disk / "step") as partial:
        (partial / "big").write_bytes(bytes(2 << 20))
    assert disk_full(full.value) and not list(small_disk.iterdir())
    assert not disk_full(PermissionError(13, "no"))
