"""What a run leaves behind."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import judged_group, scheduled_rollout, small_tokenizer
from omegaconf import OmegaConf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from launch.checkpoints import Checkpoint
from launch.resume import Resumption
from launch.run_folder import RunFolder
from tandem.config import Config, ConfigError, load
from tandem.rollout import Group, Verdict
from tandem.schedule import Schedule, boundary_table

SOLUTION = "Start with 46.\nTake 3: 46 - 3 = 43.\nThe answer is \\boxed{43}.<|end|>"
ROWS = [
    {"step": 0, "weights/version": 0, "solo/accuracy": 0.5},
    {"step": 1, "weights/version": 1, "reward/mean": 0.25, "loss/policy": -0.125},
    {"step": 2, "weights/version": 2, "reward/mean": 0.5, "loss/policy": 0.0625, "solo/accuracy": 0.75},
]


@pytest.fixture
def settings(tmp_path: Path) -> Config:
    """The configuration of a run that is named `first` and kept under `tmp_path`."""
    given = {
        "name": "first",
        "log": {"dir": str(tmp_path), "samples_per_step": 2},
        "model": {"source": "zoo", "recipe": "plain"},
        "data": {"source": "arith"},
    }
    return load(OmegaConf.create(given))


def written_group(seed: int, verdicts: list[Verdict]) -> Group:
    """A group whose rollouts all are `SOLUTION`, each by its own authors."""
    tokenizer = small_tokenizer()
    boundaries = boundary_table(tokenizer, "word_or_newline", len(tokenizer))
    tokens = tokenizer.encode(SOLUTION)
    rollouts = [scheduled_rollout(Schedule(), boundaries, seed + i, tokens) for i in range(len(verdicts))]
    return judged_group(rollouts, verdicts)


def json_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_configuration_is_kept_as_it_was_resolved(settings: Config, tmp_path: Path) -> None:
    with RunFolder(settings) as folder:
        pass
    assert folder.path == tmp_path / "first"
    assert load(OmegaConf.load(folder.path / "config.yaml")) == settings


def test_metrics_are_one_object_a_step_and_there_at_once(settings: Config) -> None:
    with RunFolder(settings) as folder:
        for count, row in enumerate(ROWS, start=1):
            folder.log(row)
            assert json_lines(folder.path / "metrics.jsonl") == ROWS[:count]


def test_what_is_not_a_number_is_left_out(settings: Config) -> None:
    with RunFolder(settings) as folder:
        folder.log({"step": 1, "grad/norm": math.inf, "loss/policy": math.nan, "reward/mean": np.float64(0.5)})
    assert json_lines(folder.path / "metrics.jsonl") == [{"step": 1, "reward/mean": 0.5}]


def test_tensorboard_shows_the_same_numbers(settings: Config) -> None:
    with RunFolder(settings) as folder:
        for row in ROWS:
            folder.log(row)
    events = EventAccumulator(str(folder.path / "tensorboard"))
    events.Reload()
    for key in {key for row in ROWS for key in row}:
        expected = [(row["step"], row[key]) for row in ROWS if key in row]
        assert [(event.step, event.value) for event in events.Scalars(key)] == expected


def test_tensorboard_forgets_what_a_resumed_run_does_again(settings: Config) -> None:
    with RunFolder(settings) as folder:
        for row in ROWS:
            folder.log(row)
    again = Resumption(folder.path, Checkpoint(folder.path / "checkpoints" / "step-000001"))
    with RunFolder(settings, again) as folder:
        folder.log({"step": 2, "reward/mean": 1.0})
    assert folder.rows == [*ROWS[:2], {"step": 2, "reward/mean": 1.0}] == json_lines(folder.path / "metrics.jsonl")
    events = EventAccumulator(str(folder.path / "tensorboard"))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("reward/mean")] == [(1, 0.25), (2, 1.0)]


def test_tensorboard_can_be_turned_off(settings: Config) -> None:
    settings.log.tensorboard = False
    with RunFolder(settings) as folder:
        folder.log(ROWS[0])
    assert not (folder.path / "tensorboard").exists()


def test_samples_tell_who_wrote_what(settings: Config) -> None:
    groups = [written_group(seed, [Verdict.CORRECT, Verdict.WRONG]) for seed in (10, 20, 30)]
    with RunFolder(settings) as folder:
        folder.keep_samples(1, groups, small_tokenizer())
        folder.keep_samples(2, groups[2:], small_tokenizer())
        samples = json_lines(folder.path / "samples.jsonl")
    assert [sample["step"] for sample in samples] == [1, 1, 2], "two a step, as log.samples_per_step says"
    for sample, group in zip(samples, groups, strict=True):
        rollout = group.rollouts[0]
        assert "".join(turn["text"] for turn in sample["turns"]) == SOLUTION
        assert [turn["author"] for turn in sample["turns"]] == [("junior", "senior")[turn.author] for turn in rollout.turns]
        assert (sample["id"], sample["question"], sample["gold"]) == (rollout.id, "How many?", "7")
        assert (sample["end"], sample["verdict"], sample["reward"], sample["advantage"]) == ("eos", "correct", 1.0, 0.5)
        assert sample["extracted"] == "7"
    assert any(len(sample["turns"]) > 2 for sample in samples)


def test_a_run_is_never_overwritten(settings: Config) -> None:
    with RunFolder(settings) as folder:
        folder.log(ROWS[0])
    with pytest.raises(ConfigError, match="name=first: .*first already holds a run; choose another name or remove it"):
        RunFolder(settings)
    assert json_lines(folder.path / "metrics.jsonl") == ROWS[:1]


def test_a_run_without_a_name_gets_one_from_the_date_and_the_schedule(settings: Config, tmp_path: Path) -> None:
    settings.name, settings.schedule.name = "", "solo"
    with RunFolder(settings) as folder:
        pass
    assert folder.path.parent == tmp_path and folder.path.match("20*-solo")
    assert OmegaConf.load(folder.path / "config.yaml").name == folder.path.name


def test_a_folder_is_made_only_when_the_run_begins(settings: Config, tmp_path: Path) -> None:
    RunFolder(settings)
    assert not list(tmp_path.iterdir())


def test_an_error_leaves_what_was_logged(settings: Config) -> None:
    folder = RunFolder(settings)

    def fail() -> None:
        with folder:
            folder.log(ROWS[0])
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert json_lines(folder.path / "metrics.jsonl") == ROWS[:1]
    assert folder.senior == folder.path / "senior" and not folder.senior.exists()
