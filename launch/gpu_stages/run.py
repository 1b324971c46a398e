"""Run stages, each in a process of its own with a time limit."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil

from launch.experiments.run_outcome import error_of
from launch.gpu_stages.machine import Machine
from launch.gpu_stages.results import FAILED, PASSED, SKIPPED, StageResult, StageResults
from launch.gpu_stages.stages import Stage
from tandem.records.run_record import LOGS
from tandem.runtime.processes import end

ROOT = Path(__file__).resolve().parents[2]
GRACE_S = 30.0
"""How long a stage has to end after SIGTERM at its time limit."""


def run_stages(
    stages: Sequence[Stage], machine: Machine, results: StageResults, *, again: bool = False
) -> Iterator[tuple[str, StageResult]]:
    """Run those of `stages` that have not passed (all, if `again`); add each result to `results` and yield it."""
    for stage in stages:
        if results.passed(stage.name) and not again:
            continue
        why = obstacle(stage, machine, results)
        result = StageResult(SKIPPED, why) if why else run_stage(stage, results.folder)
        results.stages[stage.name] = result
        yield stage.name, result


def obstacle(stage: Stage, machine: Machine, results: StageResults) -> str:
    """Return why `stage` cannot run on `machine`; empty if it can."""
    if stage.gpus > machine.gpus:
        return f"it needs {stage.gpus} GPU{'s' * (stage.gpus > 1)}, and torch finds {machine.gpus or 'none'}"
    if machine.gpu_gib and stage.gpu_gib > machine.gpu_gib:
        return f"it needs {stage.gpu_gib:g} GiB of GPU memory, and there are {machine.gpu_gib:.0f}"
    missing = [name for name in stage.after if not results.passed(name)]
    return f"it uses the results of {', '.join(missing)}: run these first, until they pass" if missing else ""


def run_stage(stage: Stage, out: Path) -> StageResult:
    """Run `stage` with its files in `out`, and its output in a log there. At its limit, end all of its processes."""
    out = out.resolve()
    shutil.rmtree(out / stage.name, ignore_errors=True)
    (log := out / LOGS / f"{stage.name}.txt").parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, *(argument.replace("{out}", str(out)) for argument in stage.command)]
    start = time.monotonic()
    with log.open("wb") as file:
        process = psutil.Popen(
            command,
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code = process.wait(stage.limit_s)
        except psutil.TimeoutExpired:
            return StageResult(FAILED, f"it did not end within {stage.limit_s:g} s; see {log}", time.monotonic() - start)
        finally:
            _stop(process)
    seconds, printed = time.monotonic() - start, log.read_text(encoding="utf-8", errors="replace")
    if code:
        return StageResult(FAILED, f"{error_of(printed, code)}; see {log}", seconds)
    try:
        return StageResult(PASSED, "", seconds, stage.figures(out / stage.name, printed))
    except (KeyError, OSError, TypeError, ValueError) as error:
        return StageResult(FAILED, f"its figures cannot be read ({type(error).__name__}: {error}); see {log}", seconds)


def _stop(process: psutil.Popen) -> None:
    """End `process`, if it still runs, and its descendants."""
    if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
        return
    processes = [process, *process.children(recursive=True)]
    process.terminate()
    psutil.wait_procs(processes, timeout=GRACE_S)
    end(processes)
    process.wait()
