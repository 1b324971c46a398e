"""Tests of the folders that are named after steps."""

from __future__ import annotations

from pathlib import Path

import pytest

from tandem.records.run_record import best_senior, values_by_step
from tandem.records.step_folders import remove_steps_after, step_folder, step_folders, step_of


@pytest.mark.parametrize("step", [0, 20, 999_999, 1_000_000])
def test_step_is_read_from_name_of_its_folder(tmp_path: Path, step: int) -> None:
    assert step_of(step_folder(tmp_path, step)) == step


@pytest.mark.parametrize("name", ["step-", "step-000020.partial", "step-000020.set-aside", "a-step-000020", "senior"])
def test_other_names_have_no_step(name: str) -> None:
    assert step_of(Path(name)) is None


def test_step_folders_are_in_order_of_steps(tmp_path: Path) -> None:
    steps = [1_000_000, 3, 20]
    for step in steps:
        step_folder(tmp_path / "best", step).mkdir(parents=True)
    (tmp_path / "best" / "step-000004.partial").mkdir()
    assert list(step_folders(tmp_path / "best").items()) == [(s, step_folder(tmp_path / "best", s)) for s in sorted(steps)]
    assert best_senior(tmp_path) == step_folder(tmp_path / "best", 1_000_000)
    remove_steps_after(tmp_path / "best", 3)
    assert list(step_folders(tmp_path / "best")) == [3]
    assert best_senior(tmp_path / "missing") is None


def test_values_are_those_of_steps_that_logged_the_metric() -> None:
    assert values_by_step([{"step": 1, "x": 0.5}, {"step": 2}, {"step": 3, "x": 0.25}], "x") == {1: 0.5, 3: 0.25}
