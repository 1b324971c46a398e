"""The page of an experiment's results; its last section is written by hand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rich.table import Table

from launch.cluster.machine import machine
from launch.estimates import METHOD, Estimate
from launch.experiments.measures import shown
from launch.experiments.preset import Experiment
from launch.experiments.results import Results
from launch.text_tables import markdown_table, terminal_table

READING = "## Reading\n"
"""The heading of the section written by hand, which is never overwritten."""
FIGURE, NUMBERS = "figure.png", "results.json"
Cells = list[list[str]]


def write_page(results: Results, experiment: Experiment, path: Path) -> None:
    """Write the page; keep the section that is written by hand and the text after it."""
    _, heading, reading = path.read_text(encoding="utf-8").partition(READING) if path.exists() else ("", "", "")
    path.write_text(f"{_facts(results, experiment)}\n{heading or READING}{reading}", encoding="utf-8")


def _facts(results: Results, experiment: Experiment) -> str:
    name = experiment.name
    config = experiment.runs[0].config
    minutes = sum(sum(spent) for spent in results.seconds.values()) / 60
    seeds = ", ".join(f"{arm} {len(spent)}" for arm, spent in results.seconds.items())
    about = (
        f"Arms and seeds: {seeds}. Each run has {config.steps} steps of {config.rollout.prompts_per_step} prompts with "
        f"{config.rollout.group_size} rollouts. Measured on {results.problems} held-out problems, which a hash of the problem "
        f"chooses, with {config.eval.samples} text each, drawn at temperature {config.eval.sampling.temperature:g} unless it "
        f"says greedy. Intervals: {METHOD}. Steps and evaluations took {minutes:.0f} minutes on {machine()}."
    )
    parts = [
        f"# {results.title}",
        f"```\n{experiment.command}\n```",
        f"![Every measure over training]({name}/{FIGURE})",
        f"{about} All values and settings: [{NUMBERS}]({name}/{NUMBERS}).",
        "At the end, and at the start:",
        _markdown(ends(results)),
    ]
    if gaps := differences(results):
        parts += [f"What {results.arms[0]} has more than the others at the end, paired by seed:", _markdown(gaps)]
    return "".join(f"{part}\n\n" for part in parts).rstrip("\n") + "\n"


def ends(results: Results) -> Cells:
    """Return a header and a row for each measure: its value at the start and at the end of each arm, with intervals."""
    first = results.arms[0]
    rows = []
    for measure, name in shown(results.measures).items():
        curves = {arm: results.curve(arm, measure) for arm in results.arms}
        start = curves[first].get(0)
        rows.append([name, _cell(start), *(_cell(curve.get(results.last_step(arm))) for arm, curve in curves.items())])
    return [["", "start", *results.arms], *rows]


def differences(results: Results) -> Cells:
    """Return a header and a row for each measure: the first arm's value at the end minus each other arm's; [] for one arm."""
    first, *others = results.arms
    rows = [
        [name, *(_cell(results.difference(first, arm, measure), "+") for arm in others)]
        for measure, name in shown(results.measures).items()
    ]
    return [["", *(f"{first} less {arm}" for arm in others)], *rows] if others else []


def _cell(value: Estimate | None, sign: str = "") -> str:
    if value is None:
        return ""
    half_width = "" if value.high is None else f" ± {value.high - value.value:.3f}"
    return f"{value.value:{sign}.3f}{half_width}"


def _markdown(cells: Cells) -> str:
    header, *rows = cells
    return markdown_table(header, rows).rstrip("\n")


def terminal(results: Results) -> Iterator[Table]:
    """Yield the tables for the terminal."""
    for header, *rows in filter(None, (ends(results), differences(results))):
        yield terminal_table(header, rows, title=results.title)
