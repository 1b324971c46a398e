"""The look that all figures share."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tandem.measures.estimates import Estimate

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's colors, distinguishable with every kind of color blindness."""
INK = "#444444"
"""The color of reference lines and notes."""


def white_figure(width: float, height: float, dpi: int = 150) -> Figure:
    """Return an empty figure of `width` by `height` inches."""
    return Figure(figsize=(width, height), dpi=dpi, facecolor="white", layout="constrained")


def draw_grid(axes: Axes, axis: Literal["both", "y"] = "both") -> None:
    """Draw a grid behind the data, and no frame above and to the right."""
    axes.grid(axis=axis, color="#DDDDDD")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def error_bars(estimates: Iterable[Estimate]) -> list[list[float]]:
    """Return how far the intervals reach below and above the values, at least 0; 0 for an estimate without an interval."""
    ends = [
        (0.0, 0.0) if each.low is None or each.high is None else (each.value - each.low, each.high - each.value)
        for each in estimates
    ]
    return [[max(0.0, below) for below, _ in ends], [max(0.0, above) for _, above in ends]]
