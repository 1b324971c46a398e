"""How long a run takes to start: a refusal, the help, the first line and the first step, and where the time goes.

    python -m bench.startup --json

`cpu_s` are seconds of processor time, which other work on the machine changes less than wall time.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console

from bench.report import Figures, benchmark_parser, print_figures
from tandem.records.run_record import METRICS
from tandem.runtime.exit_status import BAD_INPUT

ROOT = Path(__file__).resolve().parent.parent
TRAIN = [sys.executable, "launch/train.py"]
PHASES = {
    "inputs": "run folder ",
    "components": "Engines ready",
    "evaluation": "[0/",
}
"""The phases before the first step, each with text from the output line that ends it."""


@dataclass(frozen=True)
class Ended:
    """A program that has ended: when each of its lines came, and the processor time of it and of all its children."""

    lines: list[tuple[float, str]]
    seconds: float
    cpu_s: float


def measured(arguments: Sequence[str], code: int = 0) -> Ended:
    """Run launch/train.py with `arguments`; raises `RuntimeError` unless it exits with `code`."""
    before, start = _cpu_s(), time.monotonic()
    lines: list[tuple[float, str]] = []
    with subprocess.Popen(
        [*TRAIN, *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONUNBUFFERED": "1", "COLUMNS": "200"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
    ) as program:
        assert program.stdout is not None
        for line in program.stdout:
            lines.append((time.monotonic() - start, line))
    if program.returncode != code:
        raise RuntimeError(f"{' '.join(arguments)} ended with {program.returncode}:\n{''.join(line for _, line in lines)}")
    return Ended(lines, time.monotonic() - start, _cpu_s() - before)


def _cpu_s() -> float:
    """Return the processor time of all children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def startup() -> Figures:
    """Return all times."""
    refused, helped = measured(["mistyped=1"], BAD_INPUT), measured(["--help"])
    with TemporaryDirectory() as folder:
        started = time.time()
        run = measured([f"log.dir={folder}", "name=startup", "steps=2", "log.export=false", "checkpoint.save_every=0"])
        metrics = (Path(folder) / "startup" / METRICS).read_text(encoding="utf-8").splitlines()
        first_step_s = json.loads(metrics[1])["run/unix_s"] - started
    results: Figures = {
        "config_error_s": round(refused.seconds, 2),
        "config_error_cpu_s": round(refused.cpu_s, 2),
        "help_s": round(helped.seconds, 2),
        "help_cpu_s": round(helped.cpu_s, 2),
        "first_line_s": round(run.lines[0][0], 2),
    }
    last = 0.0
    for phase, mark in PHASES.items():
        end = next((seconds for seconds, line in run.lines if mark in line), None)
        if end is None:
            raise RuntimeError(f"no line with {mark!r}:\n{''.join(line for _, line in run.lines)}")
        results[f"{phase}_s"], last = round(end - last, 2), end
    results["step_s"] = round(first_step_s - last, 2)
    return results | {"first_step_s": round(first_step_s, 2), "run_cpu_s": round(run.cpu_s, 2)}


if __name__ == "__main__":
    arguments = benchmark_parser("startup", __doc__).parse_args()
    print_figures(startup(), Console(), as_json=arguments.json)
