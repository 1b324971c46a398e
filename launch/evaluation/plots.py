"""The figure of an evaluation: a panel for each kind of measure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from launch.estimates import Estimate

Estimates = Mapping[str, Estimate]
"""By the measure's name."""

_BLUE = "#0072B2"
_PANEL_INCHES = 3.6


def draw(scores: Estimates, caption: str) -> Figure:
    """Return a figure of the measures in `scores`: accuracies, pass@k, takeover by prefix, nats per token, accepted drafts."""
    panels: list[tuple[Callable[[Axes, Estimates], None], Estimates]] = [
        (_accuracies, _matching(scores, r"solo/accuracy|solo/greedy|team/.*/accuracy|takeover/0%")),
        (_passes, _matching(scores, r"solo/accuracy|solo/pass@\d+")),
        (_takeover, _matching(scores, r"takeover/.*")),
        (_nats, _matching(scores, r"drift/.*|legibility/(senior|junior)_text")),
        (_accepted_lengths, _matching(scores, r"acceptance/length@\d+")),
    ]
    # A curve needs two points.
    shown = [(panel, estimates) for panel, estimates in panels if len(estimates) > (panel is not _accuracies)]
    figure = Figure(figsize=(_PANEL_INCHES * max(1, len(shown)), 3.4), dpi=150, facecolor="white", layout="constrained")
    figure.suptitle(caption, fontsize=10)
    for axes, (panel, estimates) in zip(figure.subplots(1, max(1, len(shown)), squeeze=False)[0], shown, strict=False):
        panel(axes, estimates)
        axes.grid(axis="y", color="#DDDDDD")
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def _accuracies(axes: Axes, scores: Estimates) -> None:
    names = {"solo/accuracy": "senior", "solo/greedy": "senior, greedy", "takeover/0%": "junior"}
    _bars(axes, {names.get(name, name.split("/")[1].replace("_", " ")): estimate for name, estimate in scores.items()})
    axes.set_ylim(0, 1)
    axes.set_title("accuracy", fontsize=11)


def _passes(axes: Axes, scores: Estimates) -> None:
    by_k = {float(name.partition("@")[2] or 1): estimate for name, estimate in scores.items()}
    _curve(axes, by_k)
    axes.set_xscale("log", base=2)
    axes.set_xticks(list(by_k), [f"{k:g}" for k in by_k])
    axes.set_title("solo pass@k", fontsize=11)
    axes.set_xlabel("k")


def _takeover(axes: Axes, scores: Estimates) -> None:
    _curve(axes, {float(name.split("/")[1].rstrip("%")): estimate for name, estimate in scores.items()})
    axes.set_ylim(0, 1)
    axes.set_title("accuracy when the junior takes over", fontsize=11)
    axes.set_xlabel("% of the senior's solution")


def _nats(axes: Axes, scores: Estimates) -> None:
    names = {
        "drift/kl_senior_junior": "KL(senior, junior)",
        "drift/kl_junior_senior": "KL(junior, senior)",
        "legibility/senior_text": "CE, senior's text",
        "legibility/junior_text": "CE, own text",
    }
    _bars(axes, {names[name]: estimate for name, estimate in scores.items()})
    axes.set_title("nats per token", fontsize=11)


def _accepted_lengths(axes: Axes, scores: Estimates) -> None:
    _curve(axes, {float(name.partition("@")[2]): estimate for name, estimate in scores.items()})
    axes.set_ylim(bottom=0)
    axes.set_title("accepted of the junior's drafts", fontsize=11)
    axes.set_xlabel("tokens drafted at a time")


def _bars(axes: Axes, estimates: Estimates) -> None:
    values = [estimate.value for estimate in estimates.values()]
    axes.bar(list(estimates), values, color=_BLUE, width=0.6, yerr=_errors(estimates), capsize=3)
    axes.tick_params(axis="x", labelrotation=20, labelsize=8)


def _curve(axes: Axes, estimates: Mapping[float, Estimate]) -> None:
    ordered = dict(sorted(estimates.items()))
    values = [estimate.value for estimate in ordered.values()]
    axes.errorbar(list(ordered), values, yerr=_errors(ordered), color=_BLUE, marker="o", capsize=3)


def _errors(estimates: Mapping[float, Estimate] | Estimates) -> list[list[float]]:
    """Return how far the intervals reach below and above the values, at least 0."""
    below = [0.0 if each.low is None else max(0.0, each.value - each.low) for each in estimates.values()]
    return [below, [0.0 if each.high is None else max(0.0, each.high - each.value) for each in estimates.values()]]


def _matching(scores: Estimates, pattern: str) -> Estimates:
    return {name: estimate for name, estimate in scores.items() if re.fullmatch(pattern, name)}
