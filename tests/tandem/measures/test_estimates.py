"""tandem/measures/estimates.py: intervals of shares and of means over seeds, Student's t."""

from __future__ import annotations

from dataclasses import asdict
from math import sqrt

import pytest

from tandem.measures.estimates import Estimate, mean_over_seeds, share, t_cdf, t_quantile


def test_mean_over_seeds_has_student_interval() -> None:
    found = mean_over_seeds([1.0, 2.0, 6.0])
    assert found.value == 3.0
    assert found.high is not None and found.low is not None
    assert [found.high - 3.0, 3.0 - found.low] == pytest.approx([4.303 * sqrt(7) / sqrt(3)] * 2, rel=1e-4)
    assert mean_over_seeds([0.4]) == Estimate(0.4)


@pytest.mark.parametrize(
    ("value", "count", "low", "high"),
    [(0.0, 10, 0.0, 0.2775), (0.5, 400, 0.4512, 0.5488), (1.0, 10, 0.7225, 1.0), (0.733, 400, 0.6876, 0.7739)],
)
def test_share_has_wilson_interval(value: float, count: int, low: float, high: float) -> None:
    assert asdict(share(value, count)) == pytest.approx({"value": value, "low": low, "high": high}, abs=2e-4)


def test_share_of_unknown_count_has_no_interval() -> None:
    assert share(0.5, None) == Estimate(0.5)


def test_student_distribution_agrees_with_tables() -> None:
    table = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262]
    assert [t_quantile(0.975, freedom) for freedom in range(1, 10)] == pytest.approx(table, abs=6e-4)
    assert t_quantile(0.95, 7) == pytest.approx(1.8946, abs=1e-4)
    assert t_cdf(-2.0, 7) == pytest.approx(1 - t_cdf(2.0, 7)) == pytest.approx(0.04280966, abs=1e-7)
    assert t_cdf(1.0, 1) == pytest.approx(0.75)
