"""Two evaluations of the same problems, and the differences of their measures with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tandem.config.schema import ConfigError
from tandem.measures.bootstrap import CONFIDENCE, resampled
from tandem.measures.estimates import Estimate
from tandem.measures.score import Score

ROUNDING = 1e-9
"""The relative rounding error below which two resamples of a measure are equal."""

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
    resamples = resampled(scores)
    gaps = resamples["second"] - resamples["first"]
    with np.errstate(invalid="ignore", divide="ignore"):
        change = scores["second"].totals / scores["second"].weights - scores["first"].totals / scores["first"].weights
    return Difference(
        measure,
        float(resamples["first"][0]),
        float(resamples["second"][0]),
        Estimate(float(gaps[0]), *_interval(gaps[1:], tolerance=ROUNDING * max(1.0, abs(resamples["first"][0])))),
        greater=int((change > 0).sum()),
        less=int((change < 0).sum()),
    )


def _interval(replicates: np.ndarray, tolerance: float) -> tuple[float, float] | tuple[None, None]:
    """Return the bounds; None if the replicates are equal within `tolerance`, which says nothing of other problems."""
    finite = replicates[np.isfinite(replicates)]
    if not len(finite) or np.ptp(finite) <= tolerance:
        return None, None
    low, high = np.quantile(finite, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)
