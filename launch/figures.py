"""The look that all figures share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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


def panels(
    count: int, columns: int, inches: tuple[float, float], *, least_width: float = 0, above: float = 0
) -> tuple[Figure, list[Axes]]:
    """Return a figure with `count` panels of `inches` in rows of at most `columns`, and its panels, the hidden ones last.

    The figure is at least `least_width` inches wide, and has room of `above` inches above its panels.
    """
    columns = max(1, min(columns, count))
    rows = max(1, -(-count // columns))
    figure = white_figure(max(inches[0] * columns, least_width), inches[1] * rows + above, dpi=130)
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for hidden in axes[count:]:
        hidden.set_axis_off()
    return figure, axes


def draw_bars(axes: Axes, estimates: Mapping[str, Estimate], colors: Sequence[str] = COLORS[:1]) -> None:
    """Draw a bar with its interval for each of `estimates`, in `colors`, which repeat."""
    values = [each.value for each in estimates.values()]
    axes.bar(list(estimates), values, color=list(colors), width=0.6, yerr=error_bars(estimates.values()), capsize=3)
    axes.tick_params(axis="x", labelrotation=20, labelsize=8)


def error_bars(estimates: Iterable[Estimate]) -> list[list[float]]:
    """Return how far the intervals reach below and above the values, at least 0; 0 for an estimate without an interval."""
    ends = [
        (0.0, 0.0) if each.low is None or each.high is None else (each.value - each.low, each.high - each.value)
        for each in estimates
    ]
    return [[max(0.0, below) for below, _ in ends], [max(0.0, above) for _, above in ends]]
