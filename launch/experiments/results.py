"""What an experiment's runs measured, over seeds: read from their run folders, kept as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from launch.cluster.machine import machine
from launch.estimates import METHOD, Estimate, mean_over_seeds
from launch.experiments.preset import Experiment, Run
from launch.storage.checkpoints import packages
from launch.storage.run_record import JsonLines

MEASURED = ("solo/", "team/", "takeover/", "legibility/", "drift/")
"""What the names of measures begin with."""
NOT_MEASURED = ("solo/problems",)
ELSEWHERE = ("name", "resume", "plan_only", "cache_dir", "senior", "mode", "cluster", "log")
"""Settings that say where a run is kept and made, and not what it is."""
SECONDS = ("time/step_s", "time/evaluate_s")

Values = dict[str, dict[int, dict[int, dict[str, float]]]]
"""measures by arm, seed and step"""


@dataclass(frozen=True)
class Results:
    """What was measured of each arm with each seed at each step."""

    title: str
    values: Values
    problems: int
    """held-out problems that it was measured on"""
    seconds: dict[str, list[float]]
    """by arm, what each seed's steps and evaluations took"""
    settings: dict[str, Any]

    @property
    def arms(self) -> list[str]:
        """Those of which a run is there."""
        return list(self.values)

    @property
    def seeds(self) -> int:
        """Of the arm that has most."""
        return max(len(seeds) for seeds in self.values.values())

    @property
    def measures(self) -> list[str]:
        """All that were taken."""
        taken = (step for seeds in self.values.values() for steps in seeds.values() for step in steps.values())
        return list(dict.fromkeys(name for measures in taken for name in measures))

    def last_step(self, arm: str) -> int:
        """The step after which the arm was measured last."""
        return max(step for steps in self.values[arm].values() for step in steps)

    def curve(self, arm: str, measure: str) -> dict[int, Estimate]:
        """The measure over training, by step; over the seeds that have it."""
        seeds = self.values[arm].values()
        found = {
            step: [steps[step][measure] for steps in seeds if measure in steps.get(step, {})]
            for step in sorted({step for steps in seeds for step in steps})
        }
        return {step: mean_over_seeds(values) for step, values in found.items() if values}

    def difference(self, arm: str, other: str, measure: str) -> Estimate | None:
        """How much more `arm` has at the end than `other`, over the seeds that both have, which are paired."""
        mine, theirs = self._ends(arm, measure), self._ends(other, measure)
        gaps = [value - theirs[seed] for seed, value in mine.items() if seed in theirs]
        return mean_over_seeds(gaps) if gaps else None

    def _ends(self, arm: str, measure: str) -> dict[int, float]:
        """The measure after the last step, by seed."""
        last = self.last_step(arm)
        ends = {seed: steps.get(last, {}) for seed, steps in self.values[arm].items()}
        return {seed: measures[measure] for seed, measures in ends.items() if measure in measures}


def read_results(experiment: Experiment, runs: Sequence[Run]) -> Results:
    """What the run folders of `runs`, one or more of the experiment's, say."""
    values: Values = {arm: {} for arm in experiment.arms}
    seconds: dict[str, list[float]] = {arm: [] for arm in experiment.arms}
    for run in runs:
        rows = list(JsonLines(run.path / "metrics.jsonl").new())
        values[run.arm][run.seed] = {int(row["step"]): measures for row in rows if (measures := dict(_measures(row)))}
        seconds[run.arm].append(sum(row.get(key, 0.0) for row in rows for key in SECONDS))
        problems = next(int(row["solo/problems"]) for row in rows if "solo/problems" in row)
    return Results(
        experiment.title,
        {arm: seeds for arm, seeds in values.items() if seeds},
        problems,
        {arm: spent for arm, spent in seconds.items() if spent},
        {run.arm: _settings(run) for run in reversed(runs)},
    )


def _measures(row: dict[str, float]) -> Iterator[tuple[str, float]]:
    return ((key, value) for key, value in row.items() if key.startswith(MEASURED) and key not in NOT_MEASURED)


def _settings(run: Run) -> dict[str, Any]:
    return {key: value for key, value in asdict(run.config).items() if key not in ELSEWHERE}


def write_results(results: Results, experiment: Experiment, path: Path) -> None:
    """Keeps all values, what follows from them, and all that they depend on."""
    found = {
        "title": results.title,
        "command": experiment.command,
        "machine": machine(),
        "packages": packages(),
        "overrides": experiment.overrides,
        "arms": experiment.arms,
        "problems": results.problems,
        "interval": METHOD,
        "estimates": {
            arm: {
                measure: [
                    {"step": step, "mean": mean.value, "low": mean.low, "high": mean.high}
                    for step, mean in results.curve(arm, measure).items()
                ]
                for measure in results.measures
            }
            for arm in results.arms
        },
        "values": results.values,
        "minutes": {arm: [round(each / 60, 2) for each in spent] for arm, spent in results.seconds.items()},
        "settings": results.settings,
    }
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
