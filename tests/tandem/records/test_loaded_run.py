"""Tests of a run folder as pandas frames."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import tandem
from tandem.config.schema import ConfigError
from tandem.records.loaded_run import LoadedRun, TranscriptView
from tandem.records.saved_rollouts import Origin, save_step
from tandem.verify.judgement import Judgement, Verdict
from tests.support import ROOT
from tests.support.random_groups import random_groups
from tests.support.run_folders import HOSTILE, PER_STEP, make_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> LoadedRun:
    """A generated run of six steps, whose models write hostile texts too."""
    return tandem.load_run(make_run(tmp_path_factory.mktemp("runs") / "first", steps=6, texts=HOSTILE))


def test_metrics_have_row_for_each_step(run: LoadedRun) -> None:
    assert list(run.metrics.index) == list(range(7))
    assert run.metrics["reward/mean"].notna().sum() == 6
    assert run.config["steps"] == 6


def test_samples_and_tokens_agree(run: LoadedRun) -> None:
    assert (run.samples["set"] == "training").sum() == 6 * PER_STEP
    texts = run.tokens.groupby(["step", "id"])["token"].agg("".join)
    for row in range(len(run.samples)):
        sample = run.samples.iloc[row]
        assert texts[sample["step"], sample["id"]] == str(run.transcript(row))
    assert set(run.tokens["author"]) == {"senior", "junior"}


def test_transcript_escapes_what_models_write(run: LoadedRun) -> None:
    pages = "".join(run.transcript(row)._repr_html_() for row in range(len(run.samples)))
    assert "<script" not in pages and "<img" not in pages and "&lt;script&gt;" in pages
    assert pages.count("<span") == pages.count("</span>") > 0


def test_last_row_of_repeated_step_counts(tmp_path: Path) -> None:
    rows = [{"step": 1, "reward/mean": 0.1}, {"step": 1, "reward/mean": 0.2}]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"step": 2, "rew')
    assert tandem.load_run(tmp_path).metrics["reward/mean"].to_dict() == {1: 0.2}


def test_run_without_steps_has_no_metrics(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").touch()
    assert tandem.load_run(tmp_path).metrics.empty


def test_evaluations_have_column_for_each_measure(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").touch()
    row = {"step": 0, "id": "a", "scores": {"solo/accuracy": [1.0, 2.0], "drift/kl": [0.0, 0.0]}}
    (tmp_path / "evaluation_problems.jsonl").write_text(json.dumps(row) + "\n")
    (found,) = tandem.load_run(tmp_path).problems.to_dict("records")
    assert (found["id"], found["solo/accuracy"], found["drift/kl"]) == ("a", 0.5, None)


def test_rollouts_have_row_each(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").touch()
    assert tandem.load_run(tmp_path).rollouts.empty
    for step in (1, 2):
        groups = random_groups(3)
        for group in groups:
            group.judgements = [Judgement(Verdict.WRONG, "", 0.0) for _ in group.rollouts]
            group.rewards = group.advantages + step
        save_step(tmp_path / "rollouts", step, groups, Origin("model", "tokenizer", 200, 1.0))
    found = tandem.load_run(tmp_path).rollouts
    rollouts = [rollout for group in groups for rollout in group.rollouts]
    assert list(found["step"]) == [1] * len(rollouts) + [2] * len(rollouts)
    assert list(found["tokens"]) == [len(rollout) for rollout in rollouts] * 2
    assert found["reward"].to_numpy() == pytest.approx((found["advantage"] + found["step"]).to_numpy())
    assert set(found["verdict"]) == {"wrong"}


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not a run folder"):
        tandem.load_run(tmp_path)
    (tmp_path / "metrics.jsonl").write_text("no JSON\n")
    with pytest.raises(ConfigError, match="line 1 is not what a run writes"):
        _ = tandem.load_run(tmp_path).metrics


def test_text_of_transcript_joins_turns() -> None:
    assert str(TranscriptView({"turns": [{"text": "7 + 5"}, {"text": " = 12"}]})) == "7 + 5 = 12"


def test_import_of_package_imports_no_pandas() -> None:
    printed = "import tandem, sys; print({'pandas', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", printed], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
