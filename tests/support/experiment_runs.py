"""Made-up finished runs of an experiment, as far as it reads them."""

from __future__ import annotations

from dataclasses import asdict

import yaml

from launch.experiments.preset import ExperimentRun
from launch.experiments.run_outcome import FINISHED, RunOutcome
from tandem.measures.names import ACCURACY, TITLES, shown
from tests.support.run_folders import write_lines

STEPS = (0, 20, 40, 60)
MEASURES = shown([ACCURACY, "solo/pass@4", "solo/greedy", "team/word/accuracy", "team/word/retention@1", *TITLES])
"""The measures of the made-up runs, with their titles."""


def value(arm: str, seed: int, step: int, measure: str) -> float:
    """Return a value that differs for each arm, seed, step and measure."""
    return 0.3 + 0.001 * step * (1 if arm == "tandem" else -0.5) + 0.01 * seed + 0.001 * list(MEASURES).index(measure)


def make_run(run: ExperimentRun, steps: tuple[int, ...] = STEPS) -> None:
    """Write the run's folder, as far as an experiment reads it."""
    run.path.mkdir(parents=True)
    (run.path / "config.yaml").write_text(yaml.safe_dump(asdict(run.config), sort_keys=False))

    def row(step: int) -> dict[str, float]:
        measured = {measure: value(run.arm, run.seed, step, measure) for measure in MEASURES} if step in steps else {}
        evaluated = {"solo/problems": 300, "time/evaluate_s": 10.0, "reward/mean": 0.5} if measured else {}
        return {"step": step} | measured | evaluated | ({"time/step_s": 2.0} if step else {})

    write_lines(run.path / "metrics.jsonl", map(row, range(run.config.steps + 1)))
    RunOutcome(FINISHED, 0, 60.0, run.config.steps).write(run.path)
