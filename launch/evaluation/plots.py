"""The figure of an evaluation: a panel for each kind of measure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure

Entries = Mapping[str, Mapping[str, float]]
"""Value, low and high end of the interval, by the measure's name."""

_BLUE = "#0072B2"
_PANEL_INCHES = 3.6


def draw(scores: Entries, caption: str) -> Figure:
    """Return a figure of the measures in `scores`: accuracies, pass@k, takeover by prefix, and nats per token."""
    panels: list[tuple[Callable[[Axes, Entries], None], Entries]] = [
        (_accuracies, _matching(scores, r"solo/accuracy|solo/greedy|team/.*/accuracy|takeover/0%")),
        (_passes, _matching(scores, r"solo/accuracy|solo/pass@\d+")),
        (_takeover, _matching(scores, r"takeover/.*")),
        (_nats, _matching(scores, r"(drift|legibility)/.*")),
    ]
    # A curve needs two points.
    shown = [(panel, entries) for panel, entries in panels if len(entries) > (panel is not _accuracies)]
    figure = Figure(figsize=(_PANEL_INCHES * max(1, len(shown)), 3.4), dpi=150, facecolor="white", layout="constrained")
    figure.suptitle(caption, fontsize=10)
    for axes, (panel, entries) in zip(figure.subplots(1, max(1, len(shown)), squeeze=False)[0], shown, strict=False):
        panel(axes, entries)
        axes.grid(axis="y", color="#DDDDDD")
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def _accuracies(axes: Axes, scores: Entries) -> None:
    names = {"solo/accuracy": "senior", "solo/greedy": "senior, greedy", "takeover/0%": "junior"}
    _bars(axes, {names.get(name, name.split("/")[1].replace("_", " ")): entry for name, entry in scores.items()})
    axes.set_ylim(0, 1)
    axes.set_title("accuracy", fontsize=11)


def _passes(axes: Axes, scores: Entries) -> None:
    by_k = {float(name.partition("@")[2] or 1): entry for name, entry in scores.items()}
    _curve(axes, by_k)
    axes.set_xscale("log", base=2)
    axes.set_xticks(list(by_k), [f"{k:g}" for k in by_k])
    axes.set_title("solo pass@k", fontsize=11)
    axes.set_xlabel("k")


def _takeover(axes: Axes, scores: Entries) -> None:
    _curve(axes, {float(name.split("/")[1].rstrip("%")): entry for name, entry in scores.items()})
    axes.set_ylim(0, 1)
    axes.set_title("accuracy when the junior takes over", fontsize=11)
    axes.set_xlabel("% of the senior's solution")


def _nats(axes: Axes, scores: Entries) -> None:
    names = {
        "drift/kl_senior_junior": "KL(senior, junior)",
        "drift/kl_junior_senior": "KL(junior, senior)",
        "legibility/senior_text": "CE, senior's text",
        "legibility/junior_text": "CE, own text",
    }
    _bars(axes, {names[name]: entry for name, entry in scores.items()})
    axes.set_title("nats per token", fontsize=11)


def _bars(axes: Axes, entries: Entries) -> None:
    values = [entry["value"] for entry in entries.values()]
    axes.bar(list(entries), values, color=_BLUE, width=0.6, yerr=_errors(entries), capsize=3)
    axes.tick_params(axis="x", labelrotation=20, labelsize=8)


def _curve(axes: Axes, entries: Mapping[float, Mapping[str, float]]) -> None:
    ordered = dict(sorted(entries.items()))
    values = [entry["value"] for entry in ordered.values()]
    axes.errorbar(list(ordered), values, yerr=_errors(ordered), color=_BLUE, marker="o", capsize=3)


def _errors(entries: Mapping[float, Mapping[str, float]] | Entries) -> list[list[float]]:
    """Return how far the intervals reach below and above the values, at least 0."""
    below = [max(0.0, entry["value"] - entry["low"]) for entry in entries.values()]
    return [below, [max(0.0, entry["high"] - entry["value"]) for entry in entries.values()]]


def _matching(scores: Entries, pattern: str) -> Entries:
    return {name: entry for name, entry in scores.items() if re.fullmatch(pattern, name)}
