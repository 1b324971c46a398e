"""Tests of the tables of an evaluation, in the terminal and in a report."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from launch.evaluation.benchmarks import Benchmarks
from launch.evaluation.folder import EvaluationFolder
from launch.evaluation.tables import evaluation_tables
from tandem.config.evaluation import EvalConfig
from tandem.config.schema import Config
from tandem.measures.problem_sets import ProblemSets
from tandem.measures.score import Score
from tandem.records.run_record import read_run
from tests.support.run_folders import make_run

LEVELS = [(0.95, "95%"), (0.5, "50%"), (0.975, "97.5%"), (0.995, "99.5%"), (0.999, "99.9%")]


@pytest.mark.parametrize(("confidence", "text"), LEVELS)
def test_table_names_exact_confidence(confidence: float, text: str, tmp_path: Path) -> None:
    config = Config(name="mine", eval=EvalConfig(confidence=confidence))
    folder = EvaluationFolder(replace(config, log=replace(config.log, dir=str(tmp_path))))
    table = folder.table(
        Benchmarks([], ProblemSets.labeled([""] * 30), ""), {"solo/accuracy": Score.mean_of(np.zeros(30), share=True)}
    )
    assert table.columns[2].header == f"{text} interval"
    (interval,) = table.columns[2].cells
    assert str(interval).startswith("0.0000 to 0.") and not str(interval).endswith("to 0.0000")


@pytest.mark.parametrize(("confidence", "text"), LEVELS)
def test_report_names_exact_confidence(confidence: float, text: str, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", steps=1, texts=["a"])
    (folder := run / "evaluation" / "full").mkdir(parents=True)
    result = {"senior": "base", "problems": 400, "settings": {"eval": {"confidence": confidence}}, "notes": []}
    (folder / "result.json").write_text(json.dumps(result | {"scores": {"solo/accuracy": {"value": 0.5}}}))
    assert evaluation_tables(read_run(run))[-1]["note"] == f"400 problems; base; {text} intervals"
