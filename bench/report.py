"""The command line of a benchmark and its report: medians, ratios between the modes, tables."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from statistics import median

from rich.console import Console
from rich.table import Table

from bench.engines import WritingTime
from launch.cluster.machine import describe_machine
from launch.text_tables import terminal_table

Runs = Mapping[str, Sequence[WritingTime]]
"""Each mode's repeats."""
Figures = dict[str, float | int | str]
"""What a benchmark prints as one flat JSON object."""

RATIOS = {
    "tandem_over_solo": ("tandem", "solo"),
    "tandem_over_naive": ("tandem", "naive"),
    "tandem_over_dual": ("tandem", "dual"),
    "tandem_over_solo_same_hardware": ("tandem", "solo_two_devices"),
    "translated_over_tandem": ("translated", "tandem"),
    "shared_over_solo": ("shared", "shared_solo"),
    "shared_adapter_over_solo": ("shared_adapter", "shared_adapter_solo"),
}


def figures(runs: Runs) -> Figures:
    """Return the medians over the repeats, and the ratios and costs derived from them.

    `handoff_cost_us` is the extra time per handoff: the time of tandem minus that of equally many tokens written solo on the
    same hardware, divided by the number of handoffs.
    """
    speed = {mode: median(run.tokens_per_s for run in repeats) for mode, repeats in runs.items()}
    values: Figures = {f"{mode}_tokens_per_s": round(value, 1) for mode, value in speed.items()}
    for name, (mode, other) in RATIOS.items():
        if mode in speed and other in speed:
            values[name] = round(speed[mode] / speed[other], 3)
    if "tandem" in runs:
        tandem = runs["tandem"]
        values["turns_per_s"] = round(median((run.handoffs + run.rollouts) / run.seconds for run in tandem), 1)
        if "solo_two_devices" in runs and all(run.handoffs for run in tandem):
            own = 1 / speed["solo_two_devices"]
            values["handoff_cost_us"] = round(
                1e6 * median((run.seconds - run.tokens * own) / run.handoffs for run in tandem), 1
            )
        values["engine_busy_senior"] = round(median(run.busy_senior for run in tandem), 3)
        values["engine_busy_junior"] = round(median(run.busy_junior for run in tandem), 3)
        values["exchange_busy"] = round(median(run.busy_exchange for run in tandem), 3)
    return values


def table(runs: Runs) -> Table:
    """Return a table of each mode: the median and range of its speed, and the load of each process."""

    def row(mode: str, repeats: Sequence[WritingTime]) -> list[str]:
        speeds = [run.tokens_per_s for run in repeats]
        busy = [median(getattr(run, f"busy_{who}") for run in repeats) for who in ("senior", "junior", "exchange")]
        return [
            mode,
            f"{median(speeds):.0f}",
            f"{min(speeds):.0f}-{max(speeds):.0f}",
            f"{median(run.tokens for run in repeats):.0f}",
            f"{median(run.handoffs for run in repeats):.0f}",
            *(f"{share:.0%}" for share in busy),
        ]

    header = ("mode", "tokens/s", "range", "tokens", "handoffs", "senior busy", "junior busy", "exchange busy")
    return terminal_table(header, (row(*run) for run in runs.items()), title="Co-generation", left=1)


def benchmark_parser(name: str, doc: str | None) -> argparse.ArgumentParser:
    """Return the parser of `python -m bench.NAME` with the option --json; the first line of `doc` describes it."""
    parser = argparse.ArgumentParser(prog=f"python -m bench.{name}", description=(doc or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    return parser


def print_figures(results: Figures, console: Console, *, as_json: bool) -> None:
    """Print a benchmark's figures and the machine: as one JSON object in the last line, or formatted for people."""
    results = {**results, "machine": describe_machine()}
    if as_json:
        print(json.dumps(results))
    else:
        console.print(results)
