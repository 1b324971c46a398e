"""Two evaluations of the same problems, and the differences of their measures with intervals."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from launch.estimates import Estimate
from launch.evaluation.folder import PROBLEMS
from launch.experiments.statistics import CONFIDENCE, resampled
from tandem.config.schema import ConfigError
from tandem.measures.score import Score
from tandem.records.run_record import EVALUATED_PROBLEMS, LogReader, is_run, read_json_lines

ROUNDING = 1e-9
"""The relative rounding error below which two resamples of a measure are equal."""
_STEP = re.compile(r"step-(\d+)")

Problem = tuple[str, str]
"""The set of a problem, empty if there is only one, and its id."""
Totals = dict[str, tuple[float, float]]
"""A problem's total and weight in each measure."""


@dataclass(frozen=True)
class ProblemScores:
    """The scores of one evaluation, by problem."""

    label: str
    problems: dict[Problem, Totals]

    def score(self, measure: str, problems: Sequence[Problem]) -> Score:
        """Return a measure over `problems`; every set counts the same."""
        score = Score(*np.array([self.problems[problem][measure] for problem in problems], np.float64).T)
        _, sets = np.unique([name for name, _ in problems], return_inverse=True)
        return score.macro(sets) if sets.any() else score


@dataclass(frozen=True)
class Difference:
    """A measure of two evaluations over their common problems."""

    measure: str
    first: float
    second: float
    difference: Estimate
    """second - first, with its 95 % interval; without one if all resamples give the same difference"""
    greater: int
    """problems in which the second is greater"""
    less: int
    """problems in which the first is greater"""


def read_problem_scores(path: Path) -> ProblemScores:
    """Return the evaluation in a folder of launch/evaluate.py, the last one of a run, or that of one of a run's checkpoints.

    Raises `ConfigError` if there is none.
    """
    if (path / PROBLEMS).is_file():
        return ProblemScores(str(path), _by_problem(read_json_lines(path / PROBLEMS)))
    step = _STEP.fullmatch(path.name)
    run = path.resolve().parent.parent if step else path
    if not is_run(run):
        raise ConfigError(
            f"{path}: neither a run, one of its checkpoints, nor an evaluation; name a folder such as runs/NAME, "
            "runs/NAME/checkpoints/step-000020 or runs/NAME/evaluation/NAME"
        )
    rows = list(LogReader(run / EVALUATED_PROBLEMS).new())
    steps = sorted({int(row["step"]) for row in rows})
    wanted = int(step[1]) if step else (steps or [0])[-1]
    if wanted not in steps:
        measured = f"it has those after steps {', '.join(map(str, steps))}" if steps else "it has none"
        raise ConfigError(f"{path}: the run has no evaluation after step {wanted}; {measured}")
    return ProblemScores(f"{run} after step {wanted}", _by_problem([row for row in rows if row["step"] == wanted]))


def _by_problem(rows: Sequence[dict[str, Any]]) -> dict[Problem, Totals]:
    return {(row.get("set", ""), row["id"]): {name: tuple(part) for name, part in row["scores"].items()} for row in rows}


def compare_evaluations(first: ProblemScores, second: ProblemScores) -> tuple[list[Difference], int]:
    """Return the differences of all common measures, and the number of common problems.

    Both evaluations are resampled by the same draws of problems. Raises `ConfigError` if they have nothing in common.
    """
    common = sorted(first.problems.keys() & second.problems.keys())
    if not common:
        raise ConfigError(
            f"{first.label} and {second.label}: they have no problem in common; compare evaluations of the same data"
        )
    both = [name for name in first.problems[common[0]] if name in second.problems[common[0]]]
    scores = {name: {"first": first.score(name, common), "second": second.score(name, common)} for name in both}
    measured = {name: pair for name, pair in scores.items() if all(each.weights.any() for each in pair.values())}
    if not measured:
        raise ConfigError(f"{first.label} and {second.label}: they have no measure in common; evaluate both with the same eval")
    return [_difference(name, pair) for name, pair in measured.items()], len(common)


def _difference(measure: str, scores: Mapping[str, Score]) -> Difference:
    """Return the difference of a measure, of which `scores` has the `first` and the `second`."""
    drawn = resampled(scores)
    gaps = drawn["second"] - drawn["first"]
    with np.errstate(invalid="ignore", divide="ignore"):
        change = scores["second"].totals / scores["second"].weights - scores["first"].totals / scores["first"].weights
    return Difference(
        measure,
        float(drawn["first"][0]),
        float(drawn["second"][0]),
        Estimate(float(gaps[0]), *_interval(gaps[1:], tolerance=ROUNDING * max(1.0, abs(drawn["first"][0])))),
        greater=int((change > 0).sum()),
        less=int((change < 0).sum()),
    )


def _interval(replicates: np.ndarray, tolerance: float) -> tuple[float, float] | tuple[None, None]:
    """Return the bounds; None if the replicates are equal within `tolerance`, which says nothing of other problems."""
    found = replicates[np.isfinite(replicates)]
    if not len(found) or np.ptp(found) <= tolerance:
        return None, None
    low, high = np.quantile(found, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)
