"""The loop of launch/train.py with a real learner on engines in lockstep: resumed, uninterrupted, and by hand."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import save_model, small_tokenizer
from lockstep import Lockstep, start_lockstep
from omegaconf import OmegaConf

from actors.rollout_pool import RolloutPool
from launch.inputs import read_inputs
from launch.parts import StartsEngines, started
from launch.train import learn
from learner.group import LearnerGroup
from tandem.config import Config, load
from tandem.data.prompts import encode
from tandem.metrics import rollout_metrics
from tandem.objective.advantage import assign_advantages
from tandem.rollout import Group, Verdict
from tandem.schedules import schedule_at
from tandem.verify.judgement import plain_judgement

LETTER = "e"
"""What makes an answer of a random model right: its text has one."""


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """Four steps of a tiny random model; a checkpoint and an evaluation every two."""
    folder = tmp_path_factory.mktemp("runs")
    model = save_model(folder / "model", small_tokenizer(), initializer_range=0.3)
    problems = [json.dumps({"question": f"What is {i} + 1?", "answer": LETTER}) for i in range(40)]
    (folder / "problems.jsonl").write_text("\n".join(problems))
    given = {
        "name": "whole",
        "steps": 4,
        "log": {"dir": str(folder), "tensorboard": False},
        "model": {"source": "hf", "path": str(model)},
        "data": {"source": "jsonl", "path": str(folder / "problems.jsonl")},
        "rollout": {"prompts_per_step": 4, "group_size": 4, "sampling": {"max_tokens": 8}},
        "eval": {"problems": 2, "every": 2, "sampling": {"max_tokens": 8}},
        "judge": {"answer_pattern": f"({LETTER})"},
        "learner": {"lr": 1e-2, "weight_decay": 0.1},
        "guard": {"senior_fraction_tolerance": 0.5},
        "checkpoint": {"save_every": 2, "export": True},
    }
    return load(OmegaConf.create(given))


def run(config: Config, start_engines: StartsEngines = start_lockstep) -> Path:
    """The run that `config` describes, on engines in lockstep; its folder."""
    inputs = read_inputs(config)
    with inputs.folder as folder, started(inputs, start_engines) as parts:
        learn(parts)
    return folder.path


@pytest.fixture(scope="module")
def whole(settings: Config, ray_session: None) -> Path:
    """A run that nothing interrupted."""
    return run(settings)


def rows(folder: Path) -> list[dict[str, float]]:
    """Everything in metrics.jsonl but times, rates and the machine's state."""
    logged = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    varies = ("time/", "host/", "rollout/tokens_per_s")
    return [{key: value for key, value in row.items() if not key.startswith(varies)} for row in logged]


def samples(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]


def weights(folder: Path, step: int) -> bytes:
    return (folder / "seniors" / f"step-{step:06d}" / "model.safetensors").read_bytes()


def test_the_run_learns_and_keeps_what_it_should(whole: Path) -> None:
    assert [row["step"] for row in rows(whole)] == [0, 1, 2, 3, 4]
    assert ["solo/accuracy" in row for row in rows(whole)] == [True, False, True, False, True]
    assert all(0 < row["reward/mean"] < 1 and row["grad/norm"] > 0 for row in rows(whole)[1:])
    assert all(row["logprob/gap_mean"] < 1e-5 for row in rows(whole)[1:])
    assert sorted(path.name for path in (whole / "checkpoints").iterdir()) == ["step-000002", "step-000004"]
    assert weights(whole, 2) != weights(whole, 4)


def test_a_lost_run_that_is_resumed_equals_one_that_nothing_interrupted(whole: Path, settings: Config) -> None:
    lost = whole.with_name("lost")
    shutil.copytree(whole, lost)
    # It had written another step and was in the middle of a checkpoint.
    (lost / "checkpoints" / "step-000004").rename(lost / "checkpoints" / "step-000004.partial")
    (lost / "metrics.jsonl").write_text("".join((lost / "metrics.jsonl").read_text().splitlines(keepends=True)[:4]) + '{"st')
    shutil.rmtree(lost / "seniors")
    before = {path: path.stat().st_mtime_ns for path in (lost / "checkpoints" / "step-000002").rglob("*")}
    assert run(replace(settings, name="lost", resume="auto")) == lost
    assert rows(lost) == rows(whole)
    assert samples(lost) == samples(whole)
    assert weights(lost, 4) == weights(whole, 4)
    assert sorted(path.name for path in (lost / "checkpoints").iterdir()) == ["step-000002", "step-000004"]
    assert before == {path: path.stat().st_mtime_ns for path in before}, "a checkpoint is read, never written again"


def judge(groups: list[Group]) -> None:
    """What the reward actor does, for answers of one letter."""
    for group in groups:
        right = [LETTER in rollout.text for rollout in group.rollouts]
        group.judgements = [plain_judgement(Verdict.CORRECT if yes else Verdict.UNPARSABLE) for yes in right]
        group.rewards = np.array(right, np.float32)


def test_a_run_equals_the_loop_written_out(whole: Path, settings: Config, tmp_path: Path) -> None:
    inputs = read_inputs(replace(settings, name="by hand"))
    engines, batch = Lockstep(inputs.authors), settings.rollout.prompts_per_step
    pool = RolloutPool(settings, [engines])
    with LearnerGroup(settings, str(inputs.authors.senior), None) as learner:
        for step, row in enumerate(rows(whole)[1:], start=1):
            schedule = schedule_at(settings, step)
            groups = []
            for index, problem in enumerate(inputs.problems.train.batch(step - 1, batch)):
                ((prompt,), _) = encode([problem], inputs.authors.tokenizer, settings.data)
                task = pool.task(prompt, 4, schedule, settings.rollout.sampling, f"step{step}/{index}")
                groups.append(engines.write_group(task))
            judge(groups)
            assign_advantages(groups, settings.algo.advantage)
            expected = rollout_metrics(groups) | learner.update(groups, step)
            assert {key: row[key] for key in expected} == expected
            assert engines.receive_weights(learner.publish(step)) == step
        learner.export(tmp_path / "senior")
    assert (tmp_path / "senior" / "model.safetensors").read_bytes() == weights(whole, 4)
