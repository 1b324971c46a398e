"""The live view: step, rates, reward, authors, where time goes, and the last transcript in colors."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import pairwise
from statistics import fmean

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from launch.live_view.colored import colored, sample_title, visible
from launch.live_view.watched_run import WatchedRun
from launch.text_tables import clock
from tandem.measures.names import ACCURACY

BARS = "▁▂▃▄▅▆▇█"
BAR_WIDTH = 24
SPARKLINE_WIDTH = 40
REFRESH_S = 1.0


def watch(run: WatchedRun, console: Console) -> None:
    """Show the run until it is finished."""
    run.refresh()
    with Live(view(run), console=console, auto_refresh=False) as live:
        while not run.finished:
            time.sleep(REFRESH_S)
            run.refresh()
            live.update(view(run), refresh=True)


def view(run: WatchedRun) -> RenderableType:
    """Return everything that is shown of the run."""
    figures = Table.grid(padding=(0, 2))
    figures.add_column(style="bold")
    for label, value in _figures(run):
        figures.add_row(label, value)
    parts: list[RenderableType] = [Rule(_title(run), align="left"), Padding(figures, (1, 0))]
    if shares := run.time_shares():
        parts += [Rule("where time goes", align="left", style="dim"), Padding(_bars(shares), (1, 0))]
    if run.sample:
        title = Text.assemble("last transcript: ", sample_title(run.sample))
        parts += [Rule(title, align="left", style="dim"), Padding(colored(run.sample), (1, 0))]
    return Group(*parts)


def _title(run: WatchedRun) -> Text:
    state = "finished" if run.finished else f"updated {run.silent_s:.0f} s ago"
    return Text(f"{visible(run.name)}  step {run.step}/{run.steps}  {state}", style="bold")


def _figures(run: WatchedRun) -> list[tuple[str, str]]:
    reward, solo = run.curve("reward/mean"), run.curve(ACCURACY)
    figures = []
    if reward:
        figures.append(("reward", f"{run.recent('reward/mean'):.3f}   {sparkline(reward)}"))
    if solo:
        figures.append(("solo accuracy", " → ".join(f"{value:.3f}" for value in solo)))
    if (share := run.recent("tandem/senior_token_fraction")) is not None:
        figures.append(("senior's share", f"{share:.3f} of the tokens"))
    if (handoffs := run.recent("tandem/handoffs_per_rollout")) is not None:
        figures.append(("handoffs", f"{handoffs:.1f} a rollout"))
    if (rate := run.recent("rollout/tokens_per_s")) is not None:
        figures.append(("speed", f"{rate:,.0f} tokens/s"))
    if (seconds := run.recent("time/step_s")) is not None:
        left = clock(seconds * (run.steps - run.step))
        figures.append(("a step", f"{seconds:.1f} s" + ("" if run.finished else f", {left} left")))
    return figures or [("", "waiting for the first evaluation")]


def _bars(shares: dict[str, float]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column()
    table.add_column(justify="right")
    for phase, share in shares.items():
        table.add_row(phase, f"{share:.0%}", Text("█" * round(BAR_WIDTH * share), style="dodger_blue1"))
    return table


def sparkline(values: Sequence[float]) -> str:
    """Return the course of `values` in at most `SPARKLINE_WIDTH` bars, each the mean of equally many values."""
    count = min(SPARKLINE_WIDTH, len(values))
    edges = [len(values) * i // count for i in range(count + 1)]
    means = [fmean(values[a:b]) for a, b in pairwise(edges)]
    low, high = min(means), max(means)
    return "".join(BARS[round((value - low) / (high - low or 1) * (len(BARS) - 1))] for value in means)
