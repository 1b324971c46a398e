"""Tests of launch/compare.py, and of the evaluations it reads."""

from __future__ import annotations

import json
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from launch.evaluation.paired import read_problem_scores
from tandem.config.schema import ConfigError
from tests.support import ROOT


def write(folder: Path, name: str, rows: list[dict[str, Any]]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "result.json").write_text(json.dumps({"problems": len(rows)}))
    return folder


def rows(values: dict[str, float], **more: Any) -> list[dict[str, Any]]:
    return [{**more, "id": name, "scores": {"solo/accuracy": [value, 1.0]}} for name, value in values.items()]


def test_runs_checkpoints_and_evaluations_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = write(tmp_path / "run", "metrics.jsonl", [{"step": 0}])
    write(run, "evaluation_problems.jsonl", rows({"a": 0}, step=0) + rows({"a": 1}, step=20))
    folder = write(tmp_path / "evaluation", "problems.jsonl", rows({"a": 0.5}))
    (run / "checkpoints").mkdir()
    monkeypatch.chdir(run / "checkpoints")
    assert read_problem_scores(Path("step-000000")) == read_problem_scores(run / "checkpoints" / "step-000000")
    found = [read_problem_scores(path).problems[("", "a")] for path in (run, run / "checkpoints" / "step-000000", folder)]
    assert found == [{"solo/accuracy": (value, 1.0)} for value in (1.0, 0.0, 0.5)]
    with (run / "evaluation_problems.jsonl").open("a") as file:
        file.write('{"step": 40, "id"')
    assert read_problem_scores(run).label.endswith("after step 20"), "a row that is being written does not count"
    with pytest.raises(ConfigError, match="no evaluation after step 7; it has those after steps 0, 20"):
        read_problem_scores(run / "checkpoints" / "step-000007")
    with pytest.raises(ConfigError, match="neither a run"):
        read_problem_scores(tmp_path)


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Run launch/compare.py in this process."""

    def call(*arguments: object) -> None:
        monkeypatch.setattr(sys, "argv", ["launch/compare.py", *map(str, arguments)])
        runpy.run_path(str(ROOT / "launch" / "compare.py"), run_name="__main__")

    return call


def test_program_prints_table_and_json(tmp_path: Path, call: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    folders = [write(tmp_path / name, "problems.jsonl", rows({"a": value, "b": 0})) for name, value in (("a", 0), ("b", 1))]
    call(*folders)
    printed = capsys.readouterr().out
    assert "2 common problems" in printed and "+0.5000" in printed and "1 / 0" in printed
    call(*folders, "--json")
    found = json.loads(capsys.readouterr().out)
    assert found["problems"] == 2 and found["measures"][0]["difference"]["value"] == 0.5


def test_program_marks_no_difference_of_one_problem(
    tmp_path: Path, call: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [write(tmp_path / name, "problems.jsonl", rows({"a": value})) for name, value in (("a", 0), ("b", 1))]
    call(*folders)
    row = next(line for line in capsys.readouterr().out.splitlines() if "solo/accuracy" in line)
    assert row.replace("│", " ").split() == ["solo/accuracy", "0.0000", "1.0000", "+1.0000", "1", "/", "0"]


def test_program_refuses_what_it_cannot_compare(
    tmp_path: Path, call: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "problems.jsonl").write_text("no JSON\n")
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(SystemExit, match="2"):
            call(path, path)
        said = capsys.readouterr().err
        assert said.startswith(f"compare.py: {path}") and "Traceback" not in said
