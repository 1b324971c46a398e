"""Costs of an engine step, of a token read and of a token sampled while two authors write.

    python -m bench.steps --model smollm2 --json

The engines' scheduler records every step; least squares separate the costs. docs/cogeneration.md explains the figures.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import uvloop
from rich.console import Console
from rich.table import Table

from actors.engine import Engine
from actors.handoff_scheduler import HandoffScheduler
from bench.engines import engine_pair
from bench.modes import shortened, tandem
from bench.report import Figures, benchmark_parser, print_figures
from bench.workload import DTYPES, WARM_UP_TOKENS, Workload, prepare
from launch.text_tables import terminal_table

if TYPE_CHECKING:
    from vllm.engine.arg_utils import AsyncEngineArgs

FOLDER = "TANDEM_BENCH_STEPS"
"""The environment variable with the folder in which engines' processes record their steps."""
COSTS = ("step", "token read", "token sampled")


class RecordingScheduler(HandoffScheduler):
    """Scheduler that writes a line per step: its start and duration in seconds, the tokens read and the tokens sampled."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._records = (Path(os.environ[FOLDER]) / f"{os.getpid()}.jsonl").open("w", buffering=1, encoding="utf-8")

    def _begin_passed_turns(self) -> None:
        """Wait for turns, if need be, and record the start of the step after that."""
        super()._begin_passed_turns()
        self._began = time.perf_counter()

    def update_from_output(self, scheduler_output: Any, model_runner_output: Any) -> Any:
        """Process the step's output and record the step."""
        sampled = sum(map(len, model_runner_output.sampled_token_ids))
        outputs = super().update_from_output(scheduler_output, model_runner_output)
        seconds = time.perf_counter() - self._began
        if not scheduler_output.total_num_scheduled_tokens:
            return outputs
        print(json.dumps([self._began, seconds, scheduler_output.total_num_scheduled_tokens, sampled]), file=self._records)
        return outputs


class RecordingEngine(Engine):
    """The engine that training uses, with a scheduler that records its steps."""

    def _arguments(self) -> AsyncEngineArgs:
        return replace(super()._arguments(), scheduler_cls="bench.steps.RecordingScheduler")


@dataclass(frozen=True)
class Steps:
    """The steps of both engines during a measurement: arrays of equal length."""

    seconds: np.ndarray
    read: np.ndarray
    sampled: np.ndarray

    def costs(self) -> np.ndarray:
        """Return the seconds for each of `COSTS`, [3], by least squares."""
        return np.linalg.lstsq(self._counts(), self.seconds, rcond=None)[0]

    def shares(self) -> np.ndarray:
        """Return the share of each of `COSTS` in the steps' time, [3]."""
        return self.costs() * self._counts().sum(0) / self.seconds.sum()

    def _counts(self) -> np.ndarray:
        return np.stack([np.ones(len(self.seconds)), self.read, self.sampled], axis=1)


async def record_steps(work: Workload) -> tuple[Steps, float]:
    """Write `work`; return the steps, and the share of the time in which an engine was in a step."""
    with TemporaryDirectory() as folder:
        os.environ[FOLDER] = folder
        async with engine_pair(work.specs, "bench.steps:RecordingEngine") as pair:
            await tandem(pair, shortened(work, WARM_UP_TOKENS), "warm-up")
            began = time.perf_counter()
            await tandem(pair, work, "measured")
            seconds = time.perf_counter() - began
        lines = [line for file in Path(folder).iterdir() for line in file.read_text(encoding="utf-8").splitlines()]
    records = np.array([record for record in map(json.loads, lines) if record[0] >= began])
    return Steps(*records[:, 1:].T), records[:, 1].sum() / (len(work.specs) * seconds)


def figures(steps: Steps, busy: float) -> Figures:
    """Return the number of steps, their mean sizes, and the costs."""
    results: Figures = {
        "steps": len(steps.seconds),
        "read_per_step": round(float(steps.read.mean()), 1),
        "sampled_per_step": round(float(steps.sampled.mean()), 1),
        "in_a_step": round(busy, 3),
    }
    for name, cost, share in zip(COSTS, steps.costs(), steps.shares(), strict=True):
        key = name.replace(" ", "_")
        results |= {f"{key}_ms": round(1e3 * float(cost), 3), f"{key}_share": round(float(share), 3)}
    return results


def table(steps: Steps) -> Table:
    """Return a table of the costs."""
    numbers = (len(steps.seconds), int(steps.read.sum()), int(steps.sampled.sum()))
    rows = (
        [name, f"{number:,}", f"{1e3 * cost:.2f}", f"{share:.0%}"]
        for name, number, cost, share in zip(COSTS, numbers, steps.costs(), steps.shares(), strict=True)
    )
    return terminal_table(
        ("cost of", "number", "ms each", "share of the steps' time"), rows, title="The engines' steps", left=1
    )


def main() -> None:
    """Write one batch of rollouts and print the costs of the engines' steps."""
    parser = benchmark_parser("steps", __doc__)
    parser.add_argument("--model", choices=DTYPES, default="smollm2")
    parser.add_argument("--rollouts", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=64)
    options = parser.parse_args()
    steps, busy = uvloop.run(record_steps(prepare(options.model, options.rollouts, options.tokens)))
    console = Console()
    console.print(table(steps))
    results = {"model": options.model, **figures(steps, busy)}
    print_figures(results, console, as_json=options.json)


if __name__ == "__main__":
    main()
