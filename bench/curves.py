"""The curves of a sweep.

python -m bench.curves [DIR]     draws DIR/cogeneration.png from DIR/cogeneration.json (DIR: docs/results)
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.sweep import ROLLOUTS, SweepPoint, load
from launch.figures import COLORS, draw_grid, white_figure

PICTURE = Path("cogeneration.png")
PANELS = {
    "rollouts": "rollouts at a time",
    "chunk_tokens": "tokens between redraws (chunk_tokens)",
    "prob_senior": "probability of the senior (prob_senior)",
}
"""Each axis of a sweep and its label."""
CONDITIONS = {
    "rollouts": "schedule word",
    "chunk_tokens": f"schedule chunk, {ROLLOUTS} rollouts",
    "prob_senior": f"schedule word, {ROLLOUTS} rollouts",
}
TANDEM, SOLO, TWO_DEVICES, *_ = COLORS
LINES: dict[str, dict[str, Any]] = {
    "solo_two_devices": {"color": TWO_DEVICES, "marker": "^", "linestyle": "--", "label": "solo, both engines"},
    "solo": {"color": SOLO, "marker": "s", "linestyle": ":", "label": "solo, one engine"},
    "tandem": {"color": TANDEM, "marker": "o", "linestyle": "-", "linewidth": 2.5, "label": "tandem"},
}


def draw(points: Sequence[SweepPoint]) -> Figure:
    """Return a figure with a panel per axis: tokens per second of every mode over the axis's values, on one scale."""
    figure = white_figure(11, 4)
    panels = figure.subplots(1, len(PANELS), sharey=True)
    for panel, axis in zip(panels, PANELS, strict=True):
        _draw_panel(panel, axis, [point for point in points if point.axis == axis])
    panels[0].set_ylim(bottom=0)
    panels[0].set_ylabel("tokens/s", fontsize=12)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=3, frameon=False, fontsize=12)
    return figure


def _draw_panel(panel: Axes, axis: str, points: Sequence[SweepPoint]) -> None:
    for mode, line in LINES.items():
        curve = [point for point in points if point.mode == mode]
        panel.plot([point.value for point in curve], [point.tokens_per_s for point in curve], **line)
    if axis != "prob_senior":  # the others double from value to value
        panel.set_xscale("log", base=2)
    values = sorted({point.value for point in points})
    panel.set_xticks(values, [f"{value:g}" for value in values])
    panel.set_xlabel(PANELS[axis], fontsize=11)
    panel.set_title(CONDITIONS[axis], fontsize=11)
    draw_grid(panel)


def redraw(folder: Path) -> None:
    """Draw the sweep saved in `folder` to the same folder."""
    draw(load(folder)).savefig(folder / PICTURE)


if __name__ == "__main__":
    redraw(Path(*sys.argv[1:2] or ["docs/results"]))
