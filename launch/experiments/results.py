"""The measures of an experiment's runs over seeds, read from their run folders and written as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from launch.cluster.machine import describe_machine
from launch.experiments.evaluations import Evaluated, interval_method, read_evaluated
from launch.experiments.preset import Experiment, ExperimentRun, without_places
from launch.packages import recorded_versions
from tandem.measures.bootstrap import OverSeeds
from tandem.measures.endpoints import Endpoint, EndpointVerdict, verdicts
from tandem.measures.estimates import METHOD, Estimate, mean_over_seeds
from tandem.measures.names import PROBLEM_COUNT
from tandem.records.run_record import read_finished_metrics

MEASURED = ("solo/", "team/", "junior_alone/", "takeover/", "legibility/", "drift/", "acceptance/")
"""The prefixes of measures' keys."""
ELSEWHERE = ("name", "resume", "plan_only", "cache_dir", "senior", "mode", "cluster", "log")
"""Settings that do not affect what a run computes."""
SECONDS = ("time/step_s", "time/evaluate_s")

Values = dict[str, dict[int, dict[int, dict[str, float]]]]
"""measures by arm, seed and step"""


@dataclass(frozen=True)
class ExperimentResults:
    """The measures of each arm, seed and step."""

    title: str
    values: Values
    problems: int
    """the number of held-out problems"""
    seconds: dict[str, list[float]]
    """time of each seed's steps and evaluations, by arm"""
    settings: dict[str, Any]
    evaluated: dict[str, Evaluated]
    """the results of the preset's evaluations, by name"""
    verdicts: list[EndpointVerdict]

    @property
    def arms(self) -> list[str]:
        """The arms with at least one run."""
        return list(self.values)

    @property
    def seeds(self) -> int:
        """The most seeds of any arm."""
        return max(len(seeds) for seeds in self.values.values())

    @property
    def measures(self) -> list[str]:
        """The keys of all measures."""
        all_steps = (step for seeds in self.values.values() for steps in seeds.values() for step in steps.values())
        return list(dict.fromkeys(name for measures in all_steps for name in measures))

    def curve(self, arm: str, measure: str) -> dict[int, Estimate]:
        """Return the measure's mean by step, over the seeds that have it."""
        seeds = self.values[arm].values()
        values_by_step = {
            step: [steps[step][measure] for steps in seeds if measure in steps.get(step, {})]
            for step in sorted({step for steps in seeds for step in steps})
        }
        return {step: mean_over_seeds(values) for step, values in values_by_step.items() if values}

    def at_end(self, arm: str, measure: str) -> Estimate | None:
        """Return the measure's mean after each seed's last measured step; None if no seed has it."""
        ends = self._ends(arm, measure)
        return mean_over_seeds(list(ends.values())) if ends else None

    def difference(self, arm: str, other: str, measure: str) -> Estimate | None:
        """Return the mean difference of `arm` and `other` after their last steps, paired by seed; None without common seeds."""
        ends, other_ends = self._ends(arm, measure), self._ends(other, measure)
        gaps = [value - other_ends[seed] for seed, value in ends.items() if seed in other_ends]
        return mean_over_seeds(gaps) if gaps else None

    def _ends(self, arm: str, measure: str) -> dict[int, float]:
        """Return the measure after the last measured step, by seed. Seeds that stopped early have other last steps."""
        ends = {seed: steps[max(steps)] for seed, steps in self.values[arm].items() if steps}
        return {seed: measures[measure] for seed, measures in ends.items() if measure in measures}


def read_results(experiment: Experiment, runs: Sequence[ExperimentRun]) -> ExperimentResults:
    """Return the results of `runs`, at least one of the experiment's, from their run folders."""
    values: Values = {arm: {} for arm in experiment.arms}
    seconds: dict[str, list[float]] = {arm: [] for arm in experiment.arms}
    for run in runs:
        rows = read_finished_metrics(run.path, run.config.steps)
        values[run.arm][run.seed] = {int(row["step"]): measures for row in rows if (measures := dict(_measures(row)))}
        seconds[run.arm].append(sum(row.get(key, 0.0) for row in rows for key in SECONDS))
        problems = next((int(row[PROBLEM_COUNT]) for row in rows if PROBLEM_COUNT in row), 0)
    evaluated = read_evaluated(experiment.evaluations)

    def difference(endpoint: Endpoint, measure: str) -> OverSeeds | None:
        evaluation = evaluated.get(endpoint.evaluation)
        return evaluation.difference(endpoint.arms[0], endpoint.arms[1], measure) if evaluation else None

    return ExperimentResults(
        experiment.title,
        {arm: seeds for arm, seeds in values.items() if seeds},
        problems,
        {arm: spent for arm, spent in seconds.items() if spent},
        {run.arm: _settings(run) for run in reversed(runs)},
        evaluated,
        verdicts(experiment.endpoints, difference),
    )


def _measures(row: dict[str, float]) -> Iterator[tuple[str, float]]:
    return ((key, value) for key, value in row.items() if key.startswith(MEASURED) and key != PROBLEM_COUNT)


def _settings(run: ExperimentRun) -> dict[str, Any]:
    return {key: value for key, value in asdict(run.config).items() if key not in ELSEWHERE}


def write_results(results: ExperimentResults, experiment: Experiment, path: Path) -> None:
    """Write all values, their estimates and the settings they depend on."""
    content = {
        "title": results.title,
        "command": experiment.command,
        "machine": describe_machine(),
        "packages": recorded_versions(),
        "overrides": without_places(experiment.overrides),
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
    if results.evaluated:
        content |= {
            "verdicts": [asdict(verdict) | {"verdict": verdict.conclusion} for verdict in results.verdicts],
            "evaluation_interval": interval_method(results.evaluated.values()),
            "evaluation_minutes": round(experiment.evaluation_minutes, 2),
            "evaluations": {name: _evaluation_content(evaluated) for name, evaluated in results.evaluated.items()},
        }
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _evaluation_content(evaluated: Evaluated) -> dict[str, Any]:
    """Return each arm's means with their intervals, and each seed's values."""
    return {
        arm: {
            measure: asdict(mean.estimate)
            | {"seeds": {seed: float(values[measure][0]) for seed, values in seeds.items() if measure in values}}
            for measure in evaluated.measures
            if (mean := evaluated.mean(arm, measure))
        }
        for arm, seeds in evaluated.values.items()
    }
