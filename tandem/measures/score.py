"""A measure over a set of problems with its confidence interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tandem.measures.estimates import wilson_interval


@dataclass(frozen=True)
class Score:
    """A ratio of sums over P problems, such as nats per token. With weights of 1 it is a mean over problems."""

    totals: np.ndarray
    """float64 [P]"""
    weights: np.ndarray
    """float64 [P], not all 0"""
    strata: np.ndarray | None = None
    """int64 [P], the set of each problem, if the interval's resamples keep the size of each set"""
    share: bool = False
    """whether it is a share of texts, between 0 and 1"""

    @classmethod
    def mean_of(cls, values: Sequence[float] | np.ndarray, share: bool = False) -> Score:
        """Return the mean of one value for each problem."""
        totals = np.asarray(values, np.float64)
        return cls(totals, np.ones_like(totals), share=share)

    def macro(self, sets: np.ndarray) -> Score:
        """Return the score in which every set counts the same: `sets` [P] numbers each problem's.

        A mean over problems becomes the mean of the sets' means, a ratio the ratio of such means.
        """
        sizes = np.bincount(sets)[sets]
        return Score(self.totals / sizes, self.weights / sizes, sets, self.share)

    def of(self, chosen: np.ndarray) -> Score:
        """Return the score of the `chosen` problems, bool [P]."""
        return Score(self.totals[chosen], self.weights[chosen], share=self.share)

    @property
    def value(self) -> float:
        """Return the ratio."""
        return float(self.totals.sum() / self.weights.sum())

    @property
    def _effective_problems(self) -> float:
        """Return the number of problems of equal weight whose mean is as precise (L. Kish, 1965): P for equal weights."""
        return float(self.weights.sum() ** 2 / (self.weights**2).sum())

    def interval(self, confidence: float, resamples: int, seed: int) -> tuple[float, float]:
        """Return the percentile bootstrap interval over `resamples` resamples of the problems.

        Scores of the same problems are resampled identically if the seed is the same. A share that is the same in all
        resamples, for example because all texts are wrong, has Wilson's interval instead, as if each problem had one text.
        """
        strata = np.zeros(len(self.totals), np.int64) if self.strata is None else self.strata
        draws = draw_problems(strata, resamples, seed)
        weights = draws @ self.weights
        positive = weights > 0  # a resample may lack all problems with a weight
        values = (draws @ self.totals)[positive] / weights[positive]
        if self.share and np.ptp(values) < 1e-9:  # but for rounding, the same
            return wilson_interval(self.value, self._effective_problems, confidence)
        low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
        return float(low), float(high)


def draw_problems(strata: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """Return how often each of `resamples` draws with replacement has each problem. int64 [resamples, P]

    `strata` [P] numbers each problem's set; each draw keeps the size of each set.
    """
    random, draws = np.random.default_rng(seed), np.zeros((resamples, len(strata)), np.int64)
    for stratum in np.unique(strata):
        members = np.flatnonzero(strata == stratum)
        draws[:, members] = random.multinomial(len(members), np.full(len(members), 1 / len(members)), size=resamples)
    return draws
