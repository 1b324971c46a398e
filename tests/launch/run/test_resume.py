"""Tests of the training loop with a real learner on lockstep engines: resumed, uninterrupted, and written by hand."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np

from actors.replicas import ReplicaSet
from actors.rollout_pool import RolloutPool
from launch.run.inputs import read_inputs
from learner.group import LearnerGroup
from tandem.advantage import assign_advantages
from tandem.config.schema import Config
from tandem.data.prompts import encode
from tandem.metrics import rollout_metrics
from tandem.rollout import Group, Verdict
from tandem.runtime.restarts import RestartBudget
from tandem.schedule import schedule_at
from tandem.verify.judgement import plain_judgement
from tests.support.lockstep import Lockstep
from tests.support.lockstep_runs import LETTER, rows, run, samples, weights


def test_run_learns_and_saves_metrics_and_checkpoints(whole_run: Path) -> None:
    assert [row["step"] for row in rows(whole_run)] == [0, 1, 2, 3, 4]
    assert ["solo/accuracy" in row for row in rows(whole_run)] == [True, False, True, False, True]
    assert all(0 < row["reward/mean"] < 1 and row["grad/norm"] > 0 for row in rows(whole_run)[1:])
    assert all(row["logprob/gap_mean"] < 1e-5 for row in rows(whole_run)[1:])
    assert sorted(path.name for path in (whole_run / "checkpoints").iterdir()) == ["step-000002", "step-000004"]
    assert weights(whole_run, 2) != weights(whole_run, 4)
    accuracies = {row["step"]: row["solo/accuracy"] for row in rows(whole_run) if row["step"] in (2, 4)}
    kept = [2, 4] if accuracies[4] > accuracies[2] else [2]  # the best up to each checkpoint
    assert sorted(path.name for path in (whole_run / "best").iterdir()) == [f"step-{step:06d}" for step in kept]
    for step in kept:
        senior = whole_run / "best" / f"step-{step:06d}" / "model.safetensors"
        assert senior.read_bytes() == weights(whole_run, step)


def test_resumed_run_equals_uninterrupted_run(whole_run: Path, lockstep_settings: Config) -> None:
    lost = whole_run.with_name("lost")
    shutil.copytree(whole_run, lost)
    # The run had logged one more step and was killed while it wrote a checkpoint.
    (lost / "checkpoints" / "step-000004").rename(lost / "checkpoints" / "step-000004.partial")
    (lost / "metrics.jsonl").write_text("".join((lost / "metrics.jsonl").read_text().splitlines(keepends=True)[:4]) + '{"st')
    shutil.rmtree(lost / "seniors")
    stale = lost / "best" / "step-000004"  # of a step that is taken again
    shutil.copytree(lost / "best" / "step-000002", stale, dirs_exist_ok=True)
    (stale / "model.safetensors").write_bytes(b"")
    before = {path: path.stat().st_mtime_ns for path in (lost / "checkpoints" / "step-000002").rglob("*")}
    assert run(replace(lockstep_settings, name="lost", resume="auto")) == lost
    assert rows(lost) == rows(whole_run)
    assert samples(lost) == samples(whole_run)
    assert weights(lost, 4) == weights(whole_run, 4)
    files = [sorted((folder / "best").rglob("*.safetensors")) for folder in (lost, whole_run)]
    assert len({tuple((path.parent.name, path.read_bytes()) for path in each) for each in files}) == 1
    assert sorted(path.name for path in (lost / "checkpoints").iterdir()) == ["step-000002", "step-000004"]
    assert before == {path: path.stat().st_mtime_ns for path in before}, "resuming does not write the checkpoint again"


def judge(groups: list[Group]) -> None:
    """Judge as the reward actor does, for answers of one letter."""
    for group in groups:
        right = [LETTER in rollout.text for rollout in group.rollouts]
        group.judgements = [plain_judgement(Verdict.CORRECT if yes else Verdict.UNPARSABLE) for yes in right]
        group.rewards = np.array(right, np.float32)


def test_run_equals_loop_written_by_hand(whole_run: Path, lockstep_settings: Config, tmp_path: Path) -> None:
    inputs = read_inputs(replace(lockstep_settings, name="by hand"))
    engines, batch = Lockstep(inputs.authors), lockstep_settings.rollout.prompts_per_step
    pool = RolloutPool(lockstep_settings, ReplicaSet([engines], lockstep_settings.guard, RestartBudget(0)))
    with LearnerGroup(lockstep_settings, str(inputs.authors.senior), tmp_path / "weights") as learner:
        for step, row in enumerate(rows(whole_run)[1:], start=1):
            schedule = schedule_at(lockstep_settings, step)
            groups = []
            for index, problem in enumerate(inputs.problems.train.batch(step - 1, batch)):
                ((prompt,), _) = encode([problem], inputs.authors.tokenizer, lockstep_settings.data)
                task = pool.task(prompt, 4, schedule, lockstep_settings.rollout.sampling, f"step{step}/{index}")
                groups.append(engines.write_group(task))
            judge(groups)
            assign_advantages(groups, lockstep_settings.algo.advantage)
            expected = rollout_metrics(groups) | learner.update(groups, step)
            assert {key: row[key] for key in expected} == expected
            assert engines.receive_weights(learner.publish(step)) == step
        learner.export(tmp_path / "senior")
    assert (tmp_path / "senior" / "model.safetensors").read_bytes() == weights(whole_run, 4)
