"""One measure over a set of problems, and how sure it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Score:
    """A measure that is a ratio of sums over problems, such as nats per token; with weights of 1 it is a mean over problems."""

    totals: np.ndarray
    """float64 [P]"""
    weights: np.ndarray
    """float64 [P], not all 0"""

    @classmethod
    def mean_of(cls, values: Sequence[float] | np.ndarray) -> Score:
        """The mean of one value for each problem."""
        totals = np.asarray(values, np.float64)
        return cls(totals, np.ones_like(totals))

    @property
    def value(self) -> float:
        """The measure itself."""
        return float(self.totals.sum() / self.weights.sum())

    def interval(self, confidence: float, resamples: int, seed: int) -> tuple[float, float]:
        """The percentile bootstrap interval: the problems are drawn anew, with replacement, `resamples` times.

        Scores of the same problems are resampled alike if the seed is the same.
        """
        random, problems = np.random.default_rng(seed), len(self.totals)
        draws = random.multinomial(problems, np.full(problems, 1 / problems), size=resamples)
        weights = draws @ self.weights
        drawn = weights > 0  # a draw may miss all problems that have any weight
        values = (draws @ self.totals)[drawn] / weights[drawn]
        low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
        return float(low), float(high)
