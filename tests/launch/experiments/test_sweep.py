"""Sweeps: `python launch/train.py --multirun ...`. What they consist of, what they refuse, and what they leave."""

from __future__ import annotations

import json
import os
import runpy
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from launch.command_line import CONF, literal_overrides, quoted
from launch.experiments import sweep_worker
from launch.experiments.run_outcome import FAILED, FINISHED, OUTPUT, read_outcome
from launch.experiments.run_outcome import INTERRUPTED as INTERRUPTED_STATE
from launch.experiments.sweep import INCOMPLETE
from launch.experiments.sweep_runs import SweepRun, folder_name
from tandem.config.schema import ConfigError
from tandem.runtime.exit_status import BAD_INPUT, INTERRUPTED
from tests.support import ROOT
from tests.support.builders import save_model, small_tokenizer

pytestmark = pytest.mark.seconds

STAND_IN = """
import json, os, sys
from multiprocessing.connection import Connection
failing, requests = sys.argv[1].split(), Connection(int(sys.argv[2]))
while True:
    try:
        overrides, output = requests.recv()
    except EOFError:
        break
    folder, fails = output.parent, output.parent.name in failing
    steps = next(int(given.removeprefix("steps=")) for given in overrides if given.startswith("steps="))
    with (folder / "calls").open("a") as calls:
        calls.write(f"{os.getpid()} ")
    rows = [{"step": step, "reward/mean": 0.5, "solo/accuracy": 0.25 * step} for step in range(1 if fails else steps + 1)]
    (folder / "config.yaml").write_text(f"seed: 1\\nsteps: {steps}")
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\\n" for row in rows))
    if fails:
        raise ZeroDivisionError("out of luck")
    requests.send(output)
"""
"""A worker whose runs leave what runs do."""


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., int]:
    """Run launch/train.py with --multirun, for the sweep `demo` of a small model, and return its exit code."""
    model = save_model(tmp_path / "model", small_tokenizer())
    problems = [json.dumps({"question": f"What is {i} + 1?", "answer": i + 1}) for i in range(100)]
    (tmp_path / "problems.jsonl").write_text("\n".join(problems))
    given = [f"log.dir={tmp_path / 'runs'}", "name=demo", "steps=2", "model=hf", f"model.path={model}", "data=jsonl"]

    def call(*overrides: str, script: str = "launch/train.py") -> int:
        command = [script, "--multirun", *given, f"data.path={tmp_path / 'problems.jsonl'}", *overrides]
        monkeypatch.setattr(sys, "argv", command)
        try:
            runpy.run_path(script, run_name="__main__")
        except SystemExit as exit_:
            return int(exit_.code or 0)
        return 0

    return call


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Runs leave what runs do, and start nothing; those fail whose labels are put into this set."""
    failing: set[str] = set()
    monkeypatch.setattr(sweep_worker, "command", lambda logs: [sys.executable, "-c", STAND_IN, " ".join(failing)])
    return failing


def workers(folder: Path) -> list[int]:
    """The processes that made the run in `folder`, one for each attempt."""
    return [int(process) for process in (folder / "calls").read_text().split()]


# What a sweep consists of


def test_every_combination_is_arm_with_its_own_folder(runs_of: Callable[..., list[SweepRun]], tmp_path: Path) -> None:
    runs = runs_of("algo=tandem,grpo", "seed=1,2", "steps=3")
    assert [run.label for run in runs] == [f"algo={algo},seed={seed}" for algo in ("tandem", "grpo") for seed in (1, 2)]
    assert [(run.config.schedule.name, run.config.seed) for run in runs] == [
        (schedule, seed) for schedule in ("word", "solo") for seed in (1, 2)
    ]
    assert {run.config.steps for run in runs} == {3}
    assert [run.path for run in runs] == [tmp_path / "demo" / run.label for run in runs]


def test_arm_keeps_folder_in_larger_sweep(runs_of: Callable[..., list[SweepRun]]) -> None:
    few, many = runs_of("algo=tandem,grpo", "seed=1,2"), runs_of("algo=tandem,grpo,kl_reg", "seed=1,2,3")
    assert {run.path for run in few} < {run.path for run in many}


def test_shared_setting_is_dropped_from_arms_without_effect(runs_of: Callable[..., list[SweepRun]]) -> None:
    word, chunk = runs_of("schedule=word,chunk", "schedule.chunk_tokens=4")
    assert "schedule.chunk_tokens=4" not in word.overrides and chunk.config.schedule.chunk_tokens == 4
    with pytest.raises(ConfigError, match="chunk_tokens=4: it has no effect"):
        runs_of("schedule=word,token", "schedule.chunk_tokens=4")
    with pytest.raises(ConfigError, match="chunk_tokens=4: it has no effect"):  # the same run twice
        runs_of("schedule=word,chunk", "schedule.chunk_tokens=4,6")


def test_range_is_swept(runs_of: Callable[..., list[SweepRun]]) -> None:
    assert [run.config.seed for run in runs_of("seed=range(1,4)")] == [1, 2, 3]


@given(st.text(min_size=1))
def test_any_label_has_valid_folder_name(label: str) -> None:
    name = folder_name(label)
    assert len(name.encode()) <= 255 * 2 and "/" not in name and "\0" not in name and name not in ("", ".", "..")


@given(text=st.text("aZ9 :,()[]{}='\"\\/-", min_size=1, max_size=12).filter(str.strip))
@example("zoo:plain")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=15, deadline=None)
def test_run_reads_texts_that_sweep_planned(runs_of: Callable[..., list[SweepRun]], text: str) -> None:
    """The overrides of a run pass through the command line once more, which takes a backslash as text."""
    run, _ = runs_of(f"junior=[self,{quoted(text)}]", f"model.path={quoted(text)}", "model=hf", "seed=1,2")
    with initialize_config_dir(str(CONF), version_base=None):
        config = compose("config", literal_overrides(run.overrides))
    assert config.junior == run.config.junior == ["self", text]
    assert config.model.path == run.config.model.path == text
    assert (config.name, config.log.dir) == (run.config.name, run.config.log.dir)


def test_similar_labels_have_different_folders() -> None:
    assert folder_name("model.path=/a/b") != folder_name("model.path=-a-b")
    assert folder_name("a" * 300 + "b") != folder_name("a" * 300 + "c")


@pytest.mark.parametrize("text", ["plain", "algo=tandem,seed=1", "it's", "a\\'b", "[self,x]", "a b"])
def test_quoted_value_is_read_back_unchanged(text: str) -> None:
    with initialize_config_dir(str(CONF), version_base=None):
        assert compose("config", [f"name={quoted(text)}"]).name == text


# What is refused


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("seed=1,2", "schedule.prob_senior=0.5,1.5"), "schedule.prob_senior=1.5: give a number from 0 to 1\n  in seed=1,"),
        (("seed=1,2", "rollout.group_size=1"), "rollout.group_size=1: give a number of at least 2\n  in every run"),
        (("seed=1,2", "algo=tandem,grop"), "algo=grop: there is no conf/algo/grop.yaml; did you mean grpo?"),
        (("seed=1,2", "schedule.prob_seinor=0.5"), "schedule.prob_seinor: there is no such key; did you mean"),
        (("seed=1",), "--multirun: no key has several values; give some, as in seed=1,2,3"),
        (("seed=1,1,2",), "--multirun: seed=1 occurs more than once"),
        (("seed=interval(1,2)",), "seed=interval(1,2): an interval has infinitely many values; name some"),
        (("seed=range(3,1)",), "seed=range(3,1): this names no value; name some, as in seed=1,2,3"),
        (("seed=range(1,3,0)",), "seed=range(1,3,0): range() arg 3 must not be zero; name some values"),
        (("seed=range(1,200)", "steps=range(1,200)"), "--multirun: at least 39,601 runs, and a sweep has at most 10,000"),
        (("seed=1,2", "hydra/sweeper=optuna"), "hydra/sweeper=optuna: a sweep takes only hydra/launcher and"),
        (("seed=1,2", "steps=2,3", "resume='',auto"), "resume='',auto: it belongs to the sweep as a whole"),
        (("seed=1,2", "resume=/somewhere"), "resume=/somewhere: a sweep is resumed by its name; give resume=auto"),
        (("seed=1,2", "resume=auto", "name=''"), "resume=auto: no sweep is named; give name=NAME"),
        (("seed=1,2", "hydra/launcher=ray"), "hydra/launcher=ray: the package hydra-ray-launcher is not installed"),
        (("seed=1,2", "senior='',/somewhere"), "senior=/somewhere: training starts from model"),
        (("seed=1,2", "--cfg", "job"), "--multirun: give it without --cfg"),
    ],
)
def test_invalid_arm_prevents_all_runs(
    call: Callable[..., int], overrides: tuple[str, ...], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(*overrides) == BAD_INPUT
    assert message in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_unusable_data_of_one_arm_prevents_all_runs(
    call: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, missing = tmp_path / "problems.jsonl", tmp_path / "missing.jsonl"
    assert call(f"data.path={good},{missing}") == BAD_INPUT
    said = capsys.readouterr().err
    assert f"data.path={missing}: there is no such file" in said and f"in data.path={missing}" in said
    assert not (tmp_path / "runs").exists()


def test_other_entry_points_refuse_multirun(call: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert call("seed=1,2", script="launch/evaluate.py") == BAD_INPUT
    assert "--multirun: only launch/train.py sweeps" in capsys.readouterr().err


# What becomes of it


def test_failed_run_does_not_stop_others(
    call: Callable[..., int], stand_in: set[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stand_in.add("algo=tandem,seed=1")
    assert call("algo=tandem,grpo", "seed=1,2") == INCOMPLETE
    said = capsys.readouterr().out
    assert "algo=tandem,seed=1: ZeroDivisionError: out of luck" in said and "algo=grpo,seed=2: finished" in said
    folder = tmp_path / "runs" / "demo"
    found = json.loads((folder / "summary.json").read_text())
    assert [(row["run"], row["state"], row["exit_code"]) for row in found["runs"]] == [
        ("algo=tandem,seed=1", FAILED, 1),
        ("algo=tandem,seed=2", FINISHED, 0),
        ("algo=grpo,seed=1", FINISHED, 0),
        ("algo=grpo,seed=2", FINISHED, 0),
    ]
    assert found["runs"][0]["error"] == "ZeroDivisionError: out of luck"
    assert "ZeroDivisionError: out of luck" in (folder / "summary.md").read_text()
    assert [group["solo_accuracy"]["runs"] for group in found["groups"]] == [1, 2]
    assert "algo=grpo,seed=2" in (folder / "report.html").read_text()
    assert not (ROOT / "multirun.yaml").exists()
    failed, *others = (workers(folder / row["run"]) for row in found["runs"])
    assert others[0] == others[1] == others[2] != failed, "one process makes the runs until one fails"


def test_same_command_runs_unfinished_arms(
    call: Callable[..., int], stand_in: set[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stand_in.add("seed=2")
    assert call("seed=1,2") == INCOMPLETE
    assert call("seed=1,2") == BAD_INPUT
    assert "exists; choose another name, remove it, or continue it with resume=auto" in capsys.readouterr().err
    stand_in.clear()
    (tmp_path / "runs/demo/seed=2/metrics.jsonl").unlink()  # no checkpoint goes with it
    assert call("seed=1,2,3", "resume=auto") == 0
    assert [len(workers(tmp_path / f"runs/demo/seed={seed}")) for seed in (1, 2, 3)] == [1, 2, 1]
    found = json.loads((tmp_path / "runs/demo/summary.json").read_text())
    assert [row["state"] for row in found["runs"]] == [FINISHED] * 3


def test_plan_only_shows_every_arm_and_runs_none(
    call: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("algo=tandem,grpo", "seed=1,2", "plan_only=true") == 0
    said = capsys.readouterr().out
    assert "algo=tandem,seed=1:" in said and "algo=grpo,seed=2:" in said
    assert not (tmp_path / "runs").exists()


def test_joblib_runs_arms_in_parallel(call: Callable[..., int], stand_in: set[str], tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    assert call("seed=1,2", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2") == 0
    assert len({*workers(tmp_path / "runs/demo/seed=1"), *workers(tmp_path / "runs/demo/seed=2")}) == 2


def test_interrupt_ends_run_and_is_reported(runs_of: Callable[..., list[SweepRun]], monkeypatch: pytest.MonkeyPatch) -> None:
    run = runs_of("seed=1,2")[0]
    waits = """
import signal, time
signal.signal(signal.SIGTERM, signal.default_int_handler)
try:
    print("started")
    time.sleep(60)
except KeyboardInterrupt:
    print("ended")
    raise SystemExit(130)
"""

    def interrupt_once_started() -> None:
        while not (run.path / OUTPUT).exists() or "started" not in (run.path / OUTPUT).read_text():
            threading.Event().wait(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(sweep_worker, "command", lambda logs: [sys.executable, "-c", waits])
    threading.Thread(target=interrupt_once_started).start()
    with pytest.raises(KeyboardInterrupt), closing(sweep_worker.Worker()) as worker:
        worker.execute(run)
    assert (run.path / OUTPUT).read_text() == "started\nended\n"
    outcome = read_outcome(run.path)
    assert outcome is not None
    assert (outcome.state, outcome.exit_code) == (INTERRUPTED_STATE, INTERRUPTED)


@pytest.mark.slow
@pytest.mark.timeout(580)
def test_two_arms_and_two_seeds_are_trained_and_compared(tmp_path: Path) -> None:
    small = ["steps=2", "rollout.prompts_per_step=4", "rollout.group_size=4", "eval.problems=32", "log.tensorboard=false"]
    command = ["--multirun", "algo=tandem,grpo", "seed=1,2", f"log.dir={tmp_path}", "name=demo", *small]
    trained = subprocess.run(
        [sys.executable, "launch/train.py", *command],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert trained.returncode == 0, trained.stdout + trained.stderr
    found: dict[str, Any] = json.loads((tmp_path / "demo" / "summary.json").read_text())
    assert [(row["state"], row["step"]) for row in found["runs"]] == [(FINISHED, 2)] * 4
    assert all(0 <= row["solo_accuracy"] <= 1 and row["seconds"] > 0 for row in found["runs"])
    assert [(group["overrides"]["algo"], group["reward"]["runs"]) for group in found["groups"]] == [("tandem", 2), ("grpo", 2)]
    assert (tmp_path / "demo" / "report.html").stat().st_size > 10_000
    assert (tmp_path / "demo" / "algo=grpo,seed=2" / "senior" / "config.json").exists()
