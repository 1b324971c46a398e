"""The figure of an evaluation: a panel for each kind of measure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from itertools import cycle

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from launch.figures import COLORS, INK, draw_bars, draw_grid, error_bars, white_figure
from tandem.measures.estimates import Estimate
from tandem.measures.names import FLOOR, LEGIBILITY, title

Estimates = Mapping[str, Estimate]
"""By the measure's name."""

_PANEL_INCHES = 3.6


def draw_evaluation(scores: Estimates, caption: str) -> Figure:
    """Return a figure of the measures in `scores`: accuracies, pass@k, retention, takeover, nats, accepted drafts."""
    ks = {name.partition("@")[2] for name in scores if name.startswith("solo/pass@")}
    panels: list[tuple[Callable[[Axes, Estimates], None], Estimates]] = [
        (_accuracies, _matching(scores, r"(solo|junior_alone)/(accuracy|greedy)|team/.*/accuracy")),
        (_passes, _matching(scores, r"(solo|team/.*|junior_alone)/(accuracy|pass@\d+)") if ks else {}),
        (_retentions, _matching(scores, r"team/.*/retention@\d+")),
        (_takeover, _matching(scores, r"takeover/.*")),
        (_nats, _matching(scores, r"drift/.*|legibility/(senior|junior)_text")),
        (_accepted_lengths, _matching(scores, r"acceptance/length@\d+")),
    ]
    # A curve needs two points.
    drawable = [(panel, estimates) for panel, estimates in panels if len(estimates) > (panel is not _accuracies)]
    figure = white_figure(_PANEL_INCHES * max(1, len(drawable)), 3.4)
    figure.suptitle(caption, fontsize=10)
    for axes, (panel, estimates) in zip(figure.subplots(1, max(1, len(drawable)), squeeze=False)[0], drawable, strict=False):
        panel(axes, estimates)
        draw_grid(axes, "y")
    return figure


def _accuracies(axes: Axes, scores: Estimates) -> None:
    greedy = {name: ", greedy" if name.endswith("/greedy") else "" for name in scores}
    draw_bars(axes, {_author(name) + greedy[name]: estimate for name, estimate in scores.items()})
    axes.set_ylim(0, 1)
    axes.set_title("accuracy", fontsize=11)


def _passes(axes: Axes, scores: Estimates) -> None:
    _curves_over_k(axes, scores)
    axes.set_title("pass@k", fontsize=11)


def _retentions(axes: Axes, scores: Estimates) -> None:
    _curves_over_k(axes, scores)
    axes.axhline(1, color=INK, linestyle=":", linewidth=1)
    axes.set_title("retention: team over solo pass@k", fontsize=11)


def _curves_over_k(axes: Axes, scores: Estimates) -> None:
    """Draw a curve over k for each author, of measures such as `solo/accuracy` (k = 1) and `solo/pass@4`."""
    curves: dict[str, dict[float, Estimate]] = {}
    for name, estimate in scores.items():
        curves.setdefault(_author(name), {})[float(name.partition("@")[2] or 1)] = estimate
    for (author, by_k), color in zip(curves.items(), cycle(COLORS), strict=False):
        _curve(axes, by_k, color, author)
    ks = sorted({k for by_k in curves.values() for k in by_k})
    axes.set_xscale("log", base=2)
    axes.set_xticks(ks, [f"{k:g}" for k in ks])
    axes.set_xlabel("k")
    axes.legend(fontsize=7, frameon=False)


def _author(measure: str) -> str:
    """Return who wrote the texts of a measure such as `team/word/accuracy`."""
    kind = measure.rpartition("/")[0]
    return {"solo": "senior", "junior_alone": "junior"}.get(kind, kind.removeprefix("team/").replace("_", " "))


def _takeover(axes: Axes, scores: Estimates) -> None:
    _curve(axes, {float(name.split("/")[1].rstrip("%")): estimate for name, estimate in scores.items()})
    axes.set_ylim(0, 1)
    axes.set_title("accuracy when the junior takes over", fontsize=11)
    axes.set_xlabel("% of the senior's solution")


def _nats(axes: Axes, scores: Estimates) -> None:
    short = {LEGIBILITY: "CE, senior's text", FLOOR: "CE, own text"}
    draw_bars(axes, {short.get(name) or title(name): estimate for name, estimate in scores.items()})
    axes.set_title("nats per token", fontsize=11)


def _accepted_lengths(axes: Axes, scores: Estimates) -> None:
    _curve(axes, {float(name.partition("@")[2]): estimate for name, estimate in scores.items()})
    axes.set_ylim(bottom=0)
    axes.set_title("accepted of the junior's drafts", fontsize=11)
    axes.set_xlabel("tokens drafted at a time")


def _curve(axes: Axes, estimates: Mapping[float, Estimate], color: str = COLORS[0], label: str = "") -> None:
    ordered = dict(sorted(estimates.items()))
    values = [estimate.value for estimate in ordered.values()]
    axes.errorbar(list(ordered), values, yerr=error_bars(ordered.values()), color=color, label=label, marker="o", capsize=3)


def _matching(scores: Estimates, pattern: str) -> Estimates:
    return {name: estimate for name, estimate in scores.items() if re.fullmatch(pattern, name)}
