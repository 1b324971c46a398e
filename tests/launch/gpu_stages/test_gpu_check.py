"""Tests of the GPU check: its runner with small stages, the plans of its stages, and the whole command on a CPU."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import torch

from launch import gpu_check
from launch.entry import configuration
from launch.gpu_stages import run
from launch.gpu_stages.machine import Machine
from launch.gpu_stages.page import page
from launch.gpu_stages.random_models import SIZES
from launch.gpu_stages.results import FAILED, PASSED, SKIPPED, StageResults
from launch.gpu_stages.stages import MODELS, STAGES, Stage, last_object
from tandem.config.schema import ConfigError
from tandem.models.qwen3 import qwen3_config
from tandem.plan.placement import Node
from tandem.plan.run_plan import local_plan
from tandem.plan.sizes import model_sizes
from tests.support import ROOT
from tests.support.preloaded.python import python

ONE_GPU = Machine(1, 80.0, {"GPUs": "1"})


def stage(name: str, program: str, **settings: object) -> Stage:
    return Stage(name, "", ("-c", program), last_object, **{"limit_s": 60.0, "gpus": 0} | settings)  # type: ignore[arg-type]


def run_all(stages: list[Stage], results: StageResults, machine: Machine = ONE_GPU, **options: bool) -> dict[str, str]:
    """Run `stages` and return the statuses of those that did not keep their result."""
    return {name: result.status for name, result in run.run_stages(stages, machine, results, **options)}


def test_stage_reports_figures_or_error(tmp_path: Path) -> None:
    results = StageResults(tmp_path, {})
    stages = [
        stage("good", "print('noise'); print('{\"speed\": 3.5}')"),
        stage("bad", "raise SystemExit('no such kernel')"),
        stage("mute", "print('done')"),
    ]
    assert run_all(stages, results) == {"good": PASSED, "bad": FAILED, "mute": FAILED}
    assert results.stages["good"].figures == {"speed": 3.5}
    assert "no such kernel" in results.stages["bad"].why and "bad.txt" in results.stages["bad"].why
    assert "figures cannot be read" in results.stages["mute"].why
    assert results.failed(stages) and not results.failed(stages[:1])
    shown = page(stages, results)
    assert "speed 3.5" in shown and "no such kernel" in shown


@pytest.mark.seconds
def test_processes_of_late_stage_are_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "GRACE_S", 0.1)
    child = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); signal.pause()"
    program = f"""
import pathlib, signal, subprocess, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", {child!r}])
pathlib.Path({str(tmp_path / "pid")!r}).write_text(str(child.pid))
signal.pause()
"""
    results = StageResults(tmp_path, {})
    assert run_all([stage("late", program, limit_s=5.0)], results) == {"late": FAILED}
    assert "did not end within 5 s" in results.stages["late"].why
    assert not psutil.pid_exists(int((tmp_path / "pid").read_text()))


def test_obstacles_are_named(tmp_path: Path) -> None:
    results = StageResults(tmp_path, {})
    stages = [
        stage("two", "", gpus=2),
        stage("large", "", gpu_gib=141.0),
        stage("first", "raise SystemExit(1)"),
        stage("second", "", after=("first",)),
    ]
    assert run_all(stages, results) == {"two": SKIPPED, "large": SKIPPED, "first": FAILED, "second": SKIPPED}
    assert results.stages["two"].why == "it needs 2 GPUs, and torch finds 1"
    assert "141 GiB" in results.stages["large"].why and "first" in results.stages["second"].why


def test_passed_stages_are_kept_on_same_machine(tmp_path: Path) -> None:
    stages = [stage("good", "print('{}')"), stage("bad", "raise SystemExit(1)")]
    results = StageResults(tmp_path, {"GPUs": "1"})
    run_all(stages, results)
    results.write()
    kept = StageResults.read(tmp_path, {"GPUs": "1"})
    assert run_all(stages, kept) == {"bad": FAILED}
    assert run_all(stages, kept, again=True) == {"good": PASSED, "bad": FAILED}
    assert not StageResults.read(tmp_path, {"GPUs": "2"}).stages


def test_damaged_results_are_refused(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text('{"machine": {}, "stages": {"kernels": 3}}')
    with pytest.raises(ConfigError, match=r"results\.json: .*remove the file"):
        StageResults.read(tmp_path, {})


RUNS = [stage for stage in STAGES if stage.gpus and stage.command[0] == "launch/train.py"]


@pytest.mark.parametrize("each", RUNS, ids=lambda stage: stage.name)
def test_runs_of_stages_fit_on_their_gpus(tmp_path: Path, each: Stage) -> None:
    for size in SIZES:
        qwen3_config(size).save_pretrained(tmp_path / MODELS / size)
    config = configuration([argument.replace("{out}", str(tmp_path)) for argument in each.command[1:]])
    plan = local_plan(config, Node("node", each.gpus, each.gpu_gib), model_sizes(config))
    assert plan.on_gpus and plan.claims_per_gpu * each.gpus == plan.demand.replicas + plan.demand.ranks
    assert each.after == (MODELS,)


@pytest.mark.seconds
def test_program_refuses_unknown_stage() -> None:
    done = subprocess.run([sys.executable, "launch/gpu_check.py", "--only", "none"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and "invalid choice: 'none'" in done.stderr


@pytest.mark.engines
def test_command_reports_every_stage_without_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(sys, "executable", python())  # that of the stages, one of which reports the seconds of imports
    code = gpu_check.main(["--out", str(tmp_path)])
    printed, errors = capsys.readouterr()
    assert code == 0, printed + errors
    found = json.loads(printed.splitlines()[-1])
    assert found == json.loads((tmp_path / "results.json").read_text())
    statuses = {name: result["status"] for name, result in found["stages"].items()}
    assert statuses == {stage.name: SKIPPED if stage.gpus else PASSED for stage in STAGES}
    assert found["stages"]["tiny"]["figures"]["logprob/gap_mean"] < 5e-3
    written = (tmp_path / "page.md").read_text()
    assert all(f"| {stage.name} |" in written for stage in STAGES)
