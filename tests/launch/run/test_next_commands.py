"""Tests that a program takes every command that the end of a run proposes."""

from __future__ import annotations

import json
import runpy
import shlex
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from launch.entry import configuration
from launch.evaluation import evaluate
from launch.run import program
from launch.run.given_groups import random_step_groups
from launch.run.inputs import read_inputs
from launch.run.learner_only import read_learner_inputs
from launch.run.next_commands import learner_command
from launch.run.stopping import stop_reason
from launch.run.summary import summary
from launch.storage.checkpoints import DriverState
from launch.storage.run_folder import RunFolder
from tandem.authors import load_authors
from tandem.config.schema import Config
from tandem.records.run_record import STOPPED_EARLY
from tandem.records.saved_rollouts import Origin
from tandem.staleness import StreamPosition
from tests.support.builders import foreign_tokenizer, save_model, small_tokenizer

pytestmark = pytest.mark.seconds

REPORT, EVALUATE, TRAIN = "launch/report.py", "launch/evaluate.py", "launch/train.py"


@dataclass(frozen=True)
class Made:
    """A run that has ended."""

    config: Config
    folder: RunFolder

    def proposed(self) -> list[list[str]]:
        """Return the commands that the end of the run proposes, each a program with its arguments."""
        lines = summary(self.config, self.folder.path, self.folder.rows, total_s=9.0)
        after = lines[lines.index("Next:") + 1 :]
        return [shlex.split(line, comments=True)[1:] for line in after]


class Runs:
    """Runs of a small model in `folder`, and what programs make of commands about them."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder, self._patch = folder, monkeypatch
        self.model = save_model(folder / "model", small_tokenizer())
        self.small = save_model(folder / "small", small_tokenizer(), intermediate_size=16)
        tokenizer = foreign_tokenizer()
        self.foreign = save_model(folder / "foreign", tokenizer, vocab_size=len(tokenizer))
        problems = [json.dumps({"question": f"What is {i} + 1?", "answer": i + 1}) for i in range(100)]
        (folder / "problems.jsonl").write_text("\n".join(problems))

    def arguments(self, *overrides: str) -> list[str]:
        """Return arguments of launch/train.py; `FOREIGN` and `SMALL` stand for models."""
        names = {"FOREIGN": str(self.foreign), "SMALL": str(self.small)}
        given = [f"log.dir={self._folder / 'my runs'}", "name=first", "steps=2", "model=hf", f"model.path={self.model}"]
        given += ["data=jsonl", f"data.path={self._folder / 'problems.jsonl'}", "data.max_prompt_tokens=128"]
        given += ["model.step_boundary=newline", "rollout.sampling.max_tokens=64", "eval.sampling.max_tokens=64"]
        for override in overrides:
            for name, path in names.items():
                override = override.replace(name, path)
            given.append(override)
        return given

    def made(self, *overrides: str, script: str = TRAIN, last: int = 2, stopped: bool = False, adapter: bool = False) -> Made:
        """Make a run that has ended after step `last`, by the stopping rule if `stopped`; its senior may be an adapter."""
        arguments = self.arguments(*overrides)
        self._patch.setattr(sys, "argv", [script, *arguments])
        config = configuration(arguments)
        with RunFolder(config) as folder:
            for step in range(last + 1):
                folder.log({"step": step, "solo/accuracy": 0.5, "solo/problems": 20.0})
            if stopped:
                folder.log({"step": last, STOPPED_EARLY: 1.0})
            if config.checkpoint.save_every:
                folder.checkpoints.save(DriverState(last, StreamPosition(16)), folder.config, lambda learner: None)
            if config.log.export:
                shutil.copytree(self.model, folder.senior)
            if adapter:
                (folder.senior / "adapter_config.json").write_text("{}")
        return Made(config, folder)

    def taken(self, command: Sequence[str]) -> Config:
        """Return the configuration with which a program starts its work. Fails when it refuses `command`."""
        taken: list[Config] = []

        def evaluates(config: Config, *_: Any) -> None:
            evaluate.measured_authors(config)
            taken.append(config)

        def trains(config: Config, *_: Any) -> None:
            inputs = read_inputs(config)
            assert inputs.checkpoint and inputs.checkpoint.step < config.steps, "it takes a step"
            assert not stop_reason(config.stop, inputs.folder.rows)
            taken.append(config)

        def learns(config: Config) -> None:
            read_learner_inputs(config)
            taken.append(config)

        self._patch.setattr(evaluate, "_evaluate", evaluates)
        self._patch.setattr(program, "train_and_export", trains)
        self._patch.setattr(program, "learner_only", learns)
        self._patch.setattr(sys, "argv", list(command))
        runpy.run_path(command[0], run_name="__main__")
        return taken[0]


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runs:
    return Runs(tmp_path, monkeypatch)


EVERY = [REPORT, EVALUATE, TRAIN]
ALONE = ["algo=grpo"]
TRANSLATED = ["junior_translation=true", "junior=[FOREIGN]"]
WEIGHTED = ["junior_weights=[1,2]", "junior_dtypes=[float32,bfloat16]"]
STOPS = ["stop.metric=solo/accuracy", "stop.patience=2"]


@pytest.mark.parametrize(
    ("overrides", "programs"),
    [
        ([], EVERY),
        (ALONE, EVERY),
        (["eval=published", "eval.measures=[solo,handoff,legibility]"], EVERY),
        (TRANSLATED, EVERY),
        ([*TRANSLATED, "schedule=step"], EVERY),
        ([*TRANSLATED, *ALONE], EVERY),
        (["junior=[self,SMALL]"], EVERY),
        (["junior=[SMALL,self]", *WEIGHTED], EVERY),
        (["junior_translation=true", "junior=[FOREIGN,self]"], EVERY),
        (["learner.lora.rank=4"], EVERY),
        (["learner.lr_schedule=cosine", "schedule.anneal=linear", "schedule.prob_senior_end=0.9"], EVERY),
        (["log.export=false"], [REPORT, TRAIN]),
        (["checkpoint.save_every=0"], [REPORT, EVALUATE]),
        (["log.export=false", "checkpoint.save_every=0"], [REPORT]),
    ],
)
def test_every_proposed_command_is_taken(runs: Runs, overrides: list[str], programs: list[str]) -> None:
    proposed = runs.made(*overrides).proposed()
    assert [command[0] for command in proposed] == programs
    for command in proposed[1:]:
        runs.taken(command)


def test_ordinary_run_proposes_whole_evaluation_and_twice_as_many_steps(runs: Runs) -> None:
    made = runs.made("algo=grpo", "resume=auto")
    folder = str(made.folder.path)
    others = [argument for argument in runs.arguments("algo=grpo") if not argument.startswith(("name=", "steps="))]
    assert made.proposed() == [
        [REPORT, folder],
        [EVALUATE, f"senior={folder}", "eval=full"],
        [TRAIN, *others, f"resume={folder}", "steps=4"],
    ]


def test_adapter_is_not_evaluated(runs: Runs) -> None:
    proposed = runs.made("learner.lora.rank=4", "learner.lora.merged_export=false", adapter=True).proposed()
    assert [command[0] for command in proposed] == [REPORT, TRAIN]


def test_junior_of_other_tokenizer_is_measured_under_schedule_of_run(runs: Runs) -> None:
    for schedule, measured in (([], "word"), (["schedule=step"], "step"), (ALONE, "word")):
        _, command, _ = runs.made(*TRANSLATED, *schedule, f"name={'-'.join(schedule)}run").proposed()
        assert command[2:] == ["eval=full", f"eval.handoff=[{{name: {measured}}}]"]
        assert [handoff.name for handoff in runs.taken(command).eval.handoff] == [measured]


def test_first_of_several_juniors_is_measured(runs: Runs) -> None:
    _, command, _ = runs.made("junior=[SMALL,self]", *WEIGHTED).proposed()
    config = runs.taken(command)
    assert (config.junior, config.junior_weights, config.junior_dtypes) == ([str(runs.small)], [], ["float32"])


@pytest.mark.parametrize(
    ("steps", "last", "stopped", "expected"),
    [
        (9, 2, True, ["stop.patience=4"]),  # it has steps left
        (2, 2, False, ["stop.patience=4", "steps=4"]),  # it would stop at once
        (2, 1, False, ["steps=4"]),
    ],
)
def test_longer_run_does_not_stop_at_once(runs: Runs, steps: int, last: int, stopped: bool, expected: list[str]) -> None:
    made = runs.made(*STOPS, f"steps={steps}", last=last, stopped=stopped)
    command = made.proposed()[-1]
    assert command[0] == TRAIN and command[-1 - len(expected) :] == [f"resume={made.folder.path}", *expected]
    runs.taken(command)


def test_experiment_proposes_no_command_that_trains_nothing(runs: Runs) -> None:
    assert [command[0] for command in runs.made(script="launch/experiment.py").proposed()] == [REPORT, EVALUATE]


@pytest.mark.parametrize("given", ["command line", "file"])
def test_learner_takes_rollouts_of_run_without_learner(
    runs: Runs, tmp_path: Path, given: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = runs.made("rollouts_only=true", "log.rollouts=true", "rollout.sampling.temperature=0.8")
    authors, temperature = load_authors(made.config), made.config.rollout.sampling.temperature
    groups = random_step_groups(replace(made.config, learner_only="fake"), authors)(1)
    made.folder.save_rollouts(1, groups, Origin.of(authors, temperature))
    if given == "file":
        (file := tmp_path / "mine.yaml").write_text("rollouts_only: true\nlog: {rollouts: true}\n")
        others = [argument for argument in sys.argv[1:] if not argument.startswith(("rollouts_only=", "log.rollouts="))]
        monkeypatch.setattr(sys, "argv", [TRAIN, "--config", str(file), *others])
    command = learner_command(made.folder.path)
    assert command is not None
    config = runs.taken(shlex.split(command)[1:])
    assert config.learner_only == str(made.folder.path) and not config.rollouts_only
