"""Estimates with their intervals, statistics over seeds, and the distribution of Student's t."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import atan2, cos, pi, sin, sqrt
from statistics import NormalDist, fmean, stdev

METHOD = "Student's t over seeds, 95 %"
"""The interval of `mean_over_seeds`."""


@dataclass(frozen=True)
class Estimate:
    """A value with the ends of its interval, which are None where the data give none."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class SeedStatistics:
    """Statistics of one value for each run."""

    runs: int
    mean: float
    deviation: float | None
    """the standard deviation of the sample; None for one run"""


def seed_statistics(values: Sequence[float]) -> SeedStatistics:
    """Return the statistics of at least one value."""
    return SeedStatistics(len(values), fmean(values), stdev(values) if len(values) > 1 else None)


def mean_over_seeds(values: Sequence[float]) -> Estimate:
    """Return the mean of one value for each seed with the 95 % interval of Student's t; one seed has none."""
    seeds = seed_statistics(values)
    if seeds.deviation is None:
        return Estimate(seeds.mean)
    half_width = t_quantile(0.975, seeds.runs - 1) * seeds.deviation / sqrt(seeds.runs)
    return Estimate(seeds.mean, seeds.mean - half_width, seeds.mean + half_width)


def share(value: float, count: float | None) -> Estimate:
    """Return a share of `count` trials with its 95 % Wilson interval; without an interval if the count is unknown."""
    if not count:
        return Estimate(value)
    return Estimate(value, *wilson_interval(value, count, 0.95))


def wilson_interval(share: float, trials: float, confidence: float) -> tuple[float, float]:
    """Return the bounds for a `share` of `trials`, which may be an effective number (E. B. Wilson, 1927).

    They differ even where all trials agree.
    """
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    center = (share + z**2 / (2 * trials)) / (1 + z**2 / trials)
    half_width = z / (1 + z**2 / trials) * sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2))
    # Rounding must not exclude a share of 0 or 1.
    return max(0.0, min(share, center - half_width)), min(1.0, max(share, center + half_width))


def percent(confidence: float) -> str:
    """Return a confidence level as text."""
    return f"{100 * confidence:.4g}%"


def t_cdf(t: float, freedom: int) -> float:
    """Return the distribution function of Student's t (Abramowitz and Stegun, 26.7.3 and 26.7.4)."""
    theta, odd = atan2(t, sqrt(freedom)), freedom % 2
    term, total = cos(theta) if odd else 1.0, 0.0
    for k in range(1 + odd, freedom, 2):
        total += term
        term *= cos(theta) ** 2 * k / (k + 1)
    share = 2 / pi * (theta + sin(theta) * total) if odd else sin(theta) * total
    return (1 + share) / 2


def t_quantile(share: float, freedom: int) -> float:
    """Return the quantile of Student's t at `share`, by bisection."""
    low, high = -1e4, 1e4
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if t_cdf(middle, freedom) < share else (low, middle)
    return low
