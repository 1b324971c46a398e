"""Test of the notebook: its cells run on a run folder, and it shows their results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import matplotlib
import pytest

from tests.support import ROOT
from tests.support.run_folders import make_run

NOTEBOOK = ROOT / "docs" / "analysis.ipynb"
CELLS = [cell for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]


def test_cells_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    matplotlib.use("Agg")
    run = make_run(tmp_path / "runs" / "first", steps=6)
    scores = [{"step": step, "id": "a", "scores": {"solo/accuracy": [float(step > 0), 1.0]}} for step in (0, 6)]
    (run / "evaluation_problems.jsonl").write_text("".join(json.dumps(row) + "\n" for row in scores))
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for cell in CELLS:
        exec("".join(line for line in cell["source"] if not line.startswith("%")), names)  # noqa: S102
    assert names["change"].to_dict() == {"a": 1.0}


def test_every_cell_shows_its_result() -> None:
    assert [cell["execution_count"] for cell in CELLS] == list(range(1, len(CELLS) + 1))
    assert all(cell["outputs"] and cell["outputs"][0]["output_type"] != "error" for cell in CELLS)
