"""The figure of an evaluation of all arms: a panel for each measure, with each arm's mean and interval."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from launch.experiments.evaluations import BASE, Evaluated
from launch.figures import COLORS, INK, draw_bars, draw_grid, panels
from tandem.measures.names import ABOVE_FLOOR, FLOOR, LEGIBILITY, shown

COLUMNS = 4
_PANEL_INCHES = (2.7, 2.5)


def evaluation_figure(name: str) -> str:
    """Return the file of the figure of the evaluation `name`, in the folder of an experiment's results."""
    return f"evaluation-{name}.png"


def draw_evaluated(evaluated: Evaluated) -> Figure:
    """Return a panel for each measure but pass@k; the base models are gray."""
    left_out = (LEGIBILITY, FLOOR) if ABOVE_FLOOR in evaluated.measures else ()  # their difference says it
    titles = {key: name for key, name in shown(evaluated.measures).items() if "@" not in name and key not in left_out}
    figure, grid = panels(len(titles), COLUMNS, _PANEL_INCHES)
    for axes, (measure, name) in zip(grid, titles.items(), strict=False):
        _draw_arms(axes, evaluated, measure)
        axes.set_title(name, fontsize=10)
        draw_grid(axes, "y")
    return figure


def _draw_arms(axes: Axes, evaluated: Evaluated, measure: str) -> None:
    arms = [arm for arm in evaluated.values if arm != BASE]
    colors = {BASE: INK} | {arm: COLORS[place % len(COLORS)] for place, arm in enumerate(arms)}
    means = {arm: mean.estimate for arm in evaluated.values if (mean := evaluated.mean(arm, measure))}
    draw_bars(axes, means, [colors[arm] for arm in means])
