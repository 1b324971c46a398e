"""Estimates with their intervals, and statistics over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import fmean, stdev

Z_975 = 1.96
"""The 97.5 % quantile of the normal distribution."""
T_975 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)
"""The 97.5 % quantile of Student's t with 1, 2, ... degrees of freedom."""
METHOD = "Student's t over seeds, 95 %"
"""The interval of `mean_over_seeds`."""


@dataclass(frozen=True)
class Estimate:
    """A value with the ends of its interval, which are None where the data give none."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Sample:
    """Statistics of one value for each run."""

    runs: int
    mean: float
    deviation: float | None
    """the standard deviation of the sample; None for one run"""


def sample(values: Sequence[float]) -> Sample:
    """Return the statistics of at least one value."""
    return Sample(len(values), fmean(values), stdev(values) if len(values) > 1 else None)


def mean_over_seeds(values: Sequence[float]) -> Estimate:
    """Return the mean of one value for each of 1 to 10 seeds with the 95 % interval of Student's t; one seed has none."""
    seeds = sample(values)
    if seeds.deviation is None:
        return Estimate(seeds.mean)
    half_width = T_975[seeds.runs - 2] * seeds.deviation / sqrt(seeds.runs)
    return Estimate(seeds.mean, seeds.mean - half_width, seeds.mean + half_width)


def share(value: float, count: float | None) -> Estimate:
    """Return a share of `count` trials with its 95 % Wilson interval; without an interval if the count is unknown."""
    if not count:
        return Estimate(value)
    center = (value + Z_975**2 / (2 * count)) / (1 + Z_975**2 / count)
    half_width = Z_975 / (1 + Z_975**2 / count) * sqrt(value * (1 - value) / count + Z_975**2 / (4 * count**2))
    return Estimate(value, max(0.0, center - half_width), min(1.0, center + half_width))
