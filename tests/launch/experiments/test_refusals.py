"""Tests that sweeps and experiments are refused before their first run, with remedies that are accepted."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from launch.evaluation.settings import check_evaluation
from launch.experiments import preset as presets
from launch.experiments.preset import parse_experiment
from launch.experiments.sweep_runs import RECORD, SweepRun
from tandem.config.schema import ConfigError

pytestmark = pytest.mark.seconds


def test_existing_sweep_is_continued_only_with_checkpoints(runs_of: Callable[..., list[SweepRun]], tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / RECORD).touch()
    with pytest.raises(ConfigError, match="exists; choose another name, remove it, or continue it with resume=auto$"):
        runs_of("seed=1,2")
    assert len(runs_of("seed=1,2", "resume=auto")) == 2
    for part in ("rollouts_only=true", "learner_only=fake", "rollouts_only=false,true"):
        with pytest.raises(ConfigError, match="exists; choose another name, or remove it$"):
            runs_of("seed=1,2", part)
        with pytest.raises(ConfigError, match="writes no checkpoint to resume from"):
            runs_of("seed=1,2", part, "resume=auto")


@pytest.mark.parametrize(
    ("arm", "message"),
    [
        (
            "junior=[self,/other]",
            r"evaluation end: junior=\['self', '/other'\]: a senior is measured with one junior at a time",
        ),
        ("learner.lora.rank=4, learner.lora.merged_export=false", "evaluation end: learner.lora.merged_export=False: an ada"),
    ],
)
def test_evaluations_are_checked_before_first_run(
    arm: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presets, "PRESETS", tmp_path)
    overrides = json.dumps(arm.split(", "))
    (tmp_path / "mine.yaml").write_text(f"title: x\narms: {{a: {overrides}}}\nevaluations: {{end: [eval=full]}}")
    with pytest.raises(ConfigError, match=f"^{message}"):
        parse_experiment(["preset=mine"])


def test_evaluations_lack_what_only_training_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presets, "PRESETS", tmp_path)
    (tmp_path / "mine.yaml").write_text("title: x\narms: {a: []}\nevaluations: {end: [eval=full]}")
    found = parse_experiment(["preset=mine", "profile=true", "plan_only=true", "seeds=1"])
    assert all(run.config.profile and run.config.plan_only for run in found.runs)
    for evaluation in found.evaluations:
        check_evaluation(evaluation.config)
