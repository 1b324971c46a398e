"""The page of an experiment's results; its last section is written by hand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rich.table import Table

from launch.cluster.machine import describe_machine
from launch.experiments.evaluation_figure import evaluation_figure
from launch.experiments.evaluations import Evaluated, interval_method
from launch.experiments.preset import Experiment
from launch.experiments.results import ExperimentResults
from launch.text_tables import estimate_cell, markdown_table, terminal_table
from tandem.measures.bootstrap import OverSeeds
from tandem.measures.endpoints import LEVEL
from tandem.measures.estimates import METHOD, Estimate
from tandem.measures.names import shown, title

READING = "## Reading\n"
"""The heading of the section written by hand, which is never overwritten."""
FIGURE, NUMBERS = "figure.png", "results.json"

Cells = list[list[str]]
START = "start"
"""The column of the values before training."""


def write_page(results: ExperimentResults, experiment: Experiment, path: Path) -> None:
    """Write the page; keep the section that is written by hand and the text after it."""
    _, heading, reading = path.read_text(encoding="utf-8").partition(READING) if path.exists() else ("", "", "")
    path.write_text(f"{_facts(results, experiment)}\n{heading or READING}{reading}", encoding="utf-8")


def _facts(results: ExperimentResults, experiment: Experiment) -> str:
    name = experiment.name
    config = experiment.runs[0].config
    minutes = sum(sum(spent) for spent in results.seconds.values()) / 60
    seeds = ", ".join(f"{arm} {len(spent)}" for arm, spent in results.seconds.items())
    texts = f"{config.eval.samples} text{'s' if config.eval.samples > 1 else ''}"
    took = f"Steps and their evaluations took {minutes:.0f} minutes"
    if results.evaluated:
        took += f", and the evaluations below {experiment.evaluation_minutes:.0f} minutes,"
    measured = (
        f" Measured on {results.problems} held-out problems, which a hash of the problem chooses, with {texts} each, drawn at "
        f"temperature {config.eval.sampling.temperature:g}, except for greedy measures. Intervals: {METHOD}."
    )
    about = (
        f"Arms and seeds: {seeds}. Each run has {config.steps} steps of {config.rollout.prompts_per_step} prompts with "
        f"{config.rollout.group_size} rollouts.{measured if results.problems else ''} {took} on {describe_machine()}."
    )
    parts = [
        f"# {results.title}",
        f"```\n{experiment.command}\n```",
        *(_verdict_parts(results)),
        f"![Measures over training]({name}/{FIGURE})",
        f"{about} All values and settings: [{NUMBERS}]({name}/{NUMBERS}).",
    ]
    if not results.evaluated:
        ends, gaps = measure_tables(results)
        parts += ["At the end, and at the start:", _markdown(ends)]
        if gaps:
            parts += [f"{results.arms[0]} minus each other arm at the end, paired by seed:", _markdown(gaps)]
    for evaluation, evaluated in results.evaluated.items():
        settings = next(each.config.eval for each in experiment.evaluations if each.name == evaluation)
        sampling = settings.sampling
        ends, gaps = measure_tables(results, evaluated)
        parts += [
            f"## Evaluation `{evaluation}`",
            f"{evaluated.problems} problems with {settings.samples} texts each, at temperature {sampling.temperature:g}, top-p "
            f"{sampling.top_p:g}, top-k {sampling.top_k or 'off'}. Intervals: {interval_method([evaluated])}.",
            f"![Measures of each arm]({name}/{evaluation_figure(evaluation)})",
            _markdown(ends),
        ]
        if gaps:
            parts += [f"{results.arms[0]} minus each other arm, paired by seed and problem:", _markdown(gaps)]
        for benchmark, part in evaluated.by_set.items():
            parts += [f"On {benchmark}, {part.problems} problems:", _markdown(measure_tables(results, part)[0])]
    return "".join(f"{part}\n\n" for part in parts).rstrip("\n") + "\n"


def _verdict_parts(results: ExperimentResults) -> Iterator[str]:
    """Yield the verdicts on the endpoints, if there are any."""
    if results.verdicts:
        yield (
            "The endpoints, declared in the preset before the runs, with p-values adjusted by Holm's method. A claim is shown "
            f"if its p-value is at most {LEVEL:g}, and contradicted if the p-value of the opposite claim is at most {LEVEL:g}:"
        )
        yield _markdown(verdict_table(results))


def verdict_table(results: ExperimentResults) -> Cells:
    """Return a header and a row for each endpoint."""
    rows = []
    for verdict in results.verdicts:
        endpoint = verdict.endpoint
        first, second = endpoint.arms
        relation = f"within ±{endpoint.margin:g} of" if endpoint.claim == "equal" else f"{endpoint.claim} than"
        gaps = "; ".join(
            f"{title(measure) or measure} {estimate_cell(gap, '+')}" for measure, gap in verdict.differences.items()
        )
        p_values = (f"{verdict.p_value:.3f}", f"{verdict.p_opposite:.3f}")
        rows.append([f"{endpoint.name}: {first} {relation} {second}", gaps, *p_values, verdict.conclusion])
    return [["claim", "difference", "p", "p of the opposite", "verdict"], *rows]


def measure_tables(results: ExperimentResults, evaluated: Evaluated | None = None) -> tuple[Cells, Cells]:
    """Return two tables with a header and a row for each measure; the second is [] for one arm.

    They have the values before and after training, of each arm, and the first arm's final value minus that of each other arm:
    of the measures during training, or of an evaluation, where the models before training are the base models.
    """
    first, *others = results.arms

    def value(column: str, measure: str) -> Estimate | None:
        if evaluated:
            return _estimate(evaluated.mean(column, measure))
        return results.curve(first, measure).get(0) if column == START else results.at_end(column, measure)

    def difference(arm: str, measure: str) -> Estimate | None:
        if evaluated:
            return _estimate(evaluated.difference(first, arm, measure))
        return results.difference(first, arm, measure)

    columns = list(evaluated.values) if evaluated else [START, *results.arms]
    named = shown(evaluated.measures if evaluated else results.measures).items()
    values = [[name, *(estimate_cell(value(column, measure)) for column in columns)] for measure, name in named]
    gaps = [[name, *(estimate_cell(difference(arm, measure), "+") for arm in others)] for measure, name in named]
    return [["", *columns], *values], [["", *(f"{first} minus {arm}" for arm in others)], *gaps] if others else []


def _estimate(mean: OverSeeds | None) -> Estimate | None:
    return mean.estimate if mean else None


def _markdown(cells: Cells) -> str:
    header, *rows = cells
    return markdown_table(header, rows).rstrip("\n")


def terminal(results: ExperimentResults) -> Iterator[Table]:
    """Yield the tables for the terminal."""
    for header, *rows in filter(None, measure_tables(results)):
        yield terminal_table(header, rows, title=results.title)
    for name, evaluated in results.evaluated.items():
        for header, *rows in filter(None, measure_tables(results, evaluated)):
            yield terminal_table(header, rows, title=f"{results.title}, {name}")
    if results.verdicts:
        header, *rows = verdict_table(results)
        yield terminal_table(header, rows, title=results.title)
