"""The figure of an experiment: every measure over training, and solo accuracy against legibility."""

from __future__ import annotations

from itertools import cycle

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from launch.experiments.results import ExperimentResults
from launch.figures import COLORS, INK, draw_grid, panels
from tandem.measures.names import ACCURACY, FLOOR, LEGIBILITY, shown

COLUMNS = 3
_PANEL_INCHES = (3.3, 2.8)
_LEGEND_INCHES = 1.4
"""The room for the name of an arm."""
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">")


def draw_experiment(results: ExperimentResults) -> Figure:
    """Return a panel for each measure but pass@k, with each arm's mean and interval; the frontier is last, if measured."""
    measures = shown(results.measures)
    curves = [measure for measure, name in measures.items() if measure != FLOOR and "@" not in name]
    frontier = ACCURACY in measures and LEGIBILITY in measures
    count = len(curves) + frontier
    figure, axes = panels(count, COLUMNS, _PANEL_INCHES, least_width=_LEGEND_INCHES * len(results.arms), above=0.4)
    for panel, measure in zip(axes, curves, strict=False):
        _over_training(panel, results, measure)
        panel.set_title(measures[measure], fontsize=11)
    if frontier:
        _frontier(axes[len(curves)], results)
    for panel in axes[:count]:
        draw_grid(panel)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=6, frameon=False, fontsize=11)
    return figure


def _lines(results: ExperimentResults) -> dict[str, tuple[str, str]]:
    """Return the color and marker of each arm."""
    return dict(zip(results.arms, zip(cycle(COLORS), cycle(_MARKERS), strict=False), strict=False))


def _over_training(axes: Axes, results: ExperimentResults, measure: str) -> None:
    for arm, (color, marker) in _lines(results).items():
        curve = results.curve(arm, measure)
        axes.plot(list(curve), [each.value for each in curve.values()], color=color, marker=marker, markersize=5, label=arm)
        banded = {step: each for step, each in curve.items() if each.low is not None}
        low, high = ([getattr(each, end) for each in banded.values()] for end in ("low", "high"))
        axes.fill_between(list(banded), low, high, color=color, alpha=0.15, linewidth=0)
    means = [each.value for arm in results.arms for each in results.curve(arm, measure).values()]
    if measure == LEGIBILITY and FLOOR in results.measures:
        floor = {step: each.value for step, each in results.curve(results.arms[0], FLOOR).items()}
        axes.plot(list(floor), list(floor.values()), color=INK, linestyle=":", linewidth=1.5)
        axes.annotate("on its own", (0, floor[0]), color=INK, fontsize=8, xytext=(2, -10), textcoords="offset points")
        means += floor.values()
    # The limits follow the means: the interval of two or three seeds may be far wider.
    room = 0.25 * (max(means) - min(means)) or 0.05
    axes.set_ylim(max(0.0, min(means) - room), max(means) + room)
    axes.set_xlabel("step", fontsize=9)


def _frontier(axes: Axes, results: ExperimentResults) -> None:
    """Draw each arm's path from the common start to its end, which has a larger marker."""
    for arm, (color, marker) in _lines(results).items():
        legibility, accuracy = results.curve(arm, LEGIBILITY), results.curve(arm, ACCURACY)
        steps = [step for step in legibility if step in accuracy]
        x, y = ([curve[step].value for step in steps] for curve in (legibility, accuracy))
        axes.plot(x, y, color=color, marker=marker, markersize=5)
        axes.plot(x[-1:], y[-1:], color=color, marker=marker, markersize=10)
    axes.set_title("solo against legibility", fontsize=11)
    axes.set_xlabel("junior's cross-entropy, nats per token", fontsize=9)
    axes.set_ylabel("solo", fontsize=9)
