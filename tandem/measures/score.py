"""A measure over a set of problems with its confidence interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Score:
    """A ratio of sums over P problems, such as nats per token. With weights of 1 it is a mean over problems."""

    totals: np.ndarray
    """float64 [P]"""
    weights: np.ndarray
    """float64 [P], not all 0"""

    @classmethod
    def mean_of(cls, values: Sequence[float] | np.ndarray) -> Score:
        """Return the mean of one value for each problem."""
        totals = np.asarray(values, np.float64)
        return cls(totals, np.ones_like(totals))

    @property
    def value(self) -> float:
        """Return the ratio."""
        return float(self.totals.sum() / self.weights.sum())

    def interval(self, confidence: float, resamples: int, seed: int) -> tuple[float, float]:
        """Return the percentile bootstrap interval over `resamples` resamples of the problems.

        Scores of the same problems are resampled identically if the seed is the same.
        """
        random, problems = np.random.default_rng(seed), len(self.totals)
        draws = random.multinomial(problems, np.full(problems, 1 / problems), size=resamples)
        weights = draws @ self.weights
        drawn = weights > 0  # a resample may lack all problems with a weight
        values = (draws @ self.totals)[drawn] / weights[drawn]
        low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
        return float(low), float(high)
