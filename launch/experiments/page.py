"""The page of an experiment's results; its last section is written by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from rich.table import Table

from launch.cluster.machine import describe_machine
from launch.experiments.evaluations import Evaluated, interval_method
from launch.experiments.preset import Experiment
from launch.experiments.results import ExperimentResults
from launch.text_tables import markdown_table, terminal_table
from tandem.measures.bootstrap import OverSeeds
from tandem.measures.endpoints import LEVEL
from tandem.measures.estimates import METHOD, Estimate
from tandem.measures.names import TITLES, shown

READING = "## Reading\n"
"""The heading of the section written by hand, which is never overwritten."""
FIGURE, NUMBERS = "figure.png", "results.json"
Cells = list[list[str]]
Value = Callable[[str, str], Estimate | None]
"""The estimate of a measure in a column of a table."""
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
    about = (
        f"Arms and seeds: {seeds}. Each run has {config.steps} steps of {config.rollout.prompts_per_step} prompts with "
        f"{config.rollout.group_size} rollouts. Measured on {results.problems} held-out problems, which a hash of the problem "
        f"chooses, with {texts} each, drawn at temperature {config.eval.sampling.temperature:g}, except for "
        f"greedy measures. Intervals: {METHOD}. {took} on {describe_machine()}."
    )
    parts = [
        f"# {results.title}",
        f"```\n{experiment.command}\n```",
        *(_verdict_parts(results)),
        f"![Every measure over training]({name}/{FIGURE})",
        f"{about} All values and settings: [{NUMBERS}]({name}/{NUMBERS}).",
    ]
    if not results.evaluated:
        parts += ["At the end, and at the start:", _markdown(ends(results))]
    if not results.evaluated and (gaps := differences(results)):
        parts += [f"{results.arms[0]} minus each other arm at the end, paired by seed:", _markdown(gaps)]
    for evaluation, evaluated in results.evaluated.items():
        settings = next(each.config.eval for each in experiment.evaluations if each.name == evaluation)
        sampling = settings.sampling
        parts += [
            f"## Evaluation `{evaluation}`",
            f"{evaluated.problems} problems with {settings.samples} texts each, at temperature {sampling.temperature:g}, top-p "
            f"{sampling.top_p:g}, top-k {sampling.top_k or 'off'}. Intervals: {interval_method([evaluated])}.",
            _markdown(evaluation_ends(evaluated)),
        ]
        if gaps := evaluation_differences(evaluated, results.arms):
            parts += [f"{results.arms[0]} minus each other arm, paired by seed and problem:", _markdown(gaps)]
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
        gaps = "; ".join(f"{TITLES.get(measure, measure)} {_cell(gap, '+')}" for measure, gap in verdict.differences.items())
        rows.append([f"{endpoint.name}: {first} {relation} {second}", gaps, f"{verdict.p_value:.3f}", verdict.conclusion])
    return [["claim", "difference", "p", "verdict"], *rows]


def ends(results: ExperimentResults) -> Cells:
    """Return a header and a row for each measure: its value at the start and at the end of each arm, with intervals."""
    first = results.arms[0]

    def value(column: str, measure: str) -> Estimate | None:
        return results.curve(first, measure).get(0) if column == START else results.at_end(column, measure)

    return _cells([START, *results.arms], value, results.measures)


def differences(results: ExperimentResults) -> Cells:
    """Return a header and a row for each measure: the first arm's value at the end minus each other arm's; [] for one arm."""
    first, *others = results.arms
    return _differences(first, others, results.measures, lambda arm, measure: results.difference(first, arm, measure))


def evaluation_ends(evaluated: Evaluated) -> Cells:
    """Return a header and a row for each measure: its mean over the seeds of the base models and of each arm."""
    return _cells(list(evaluated.values), lambda arm, measure: _estimate(evaluated.mean(arm, measure)), evaluated.measures)


def evaluation_differences(evaluated: Evaluated, arms: Sequence[str]) -> Cells:
    """Return a header and a row for each measure: the first arm's value minus each other arm's; [] for one arm."""
    first, *others = arms
    return _differences(
        first, others, evaluated.measures, lambda arm, measure: _estimate(evaluated.difference(first, arm, measure))
    )


def _estimate(mean: OverSeeds | None) -> Estimate | None:
    return mean.estimate if mean else None


def _differences(first: str, others: Sequence[str], measures: Sequence[str], difference: Value) -> Cells:
    """Return a header and a row for each measure: the arm `first` minus each of the `others`; [] if there are none."""
    if not others:
        return []
    _, *rows = _cells(others, difference, measures, "+")
    return [["", *(f"{first} minus {arm}" for arm in others)], *rows]


def _cells(columns: Sequence[str], value: Value, measures: Sequence[str], sign: str = "") -> Cells:
    """Return a header and a row for each shown one of `measures`, with its `value` in each of the `columns`."""
    rows = [[name, *(_cell(value(column, measure), sign) for column in columns)] for measure, name in shown(measures).items()]
    return [["", *columns], *rows]


def _cell(value: Estimate | None, sign: str = "") -> str:
    """Return the value with half the width of its interval, or with both ends if they differ in distance."""
    if value is None:
        return ""
    if value.low is None or value.high is None:
        return f"{value.value:{sign}.3f}"
    below, above = f"{value.value - value.low:.3f}", f"{value.high - value.value:.3f}"
    if below == above:
        return f"{value.value:{sign}.3f} ± {above}"
    return f"{value.value:{sign}.3f} ({value.low:{sign}.3f} to {value.high:{sign}.3f})"


def _markdown(cells: Cells) -> str:
    header, *rows = cells
    return markdown_table(header, rows).rstrip("\n")


def terminal(results: ExperimentResults) -> Iterator[Table]:
    """Yield the tables for the terminal."""
    for header, *rows in filter(None, (ends(results), differences(results))):
        yield terminal_table(header, rows, title=results.title)
    for name, evaluated in results.evaluated.items():
        for header, *rows in filter(None, (evaluation_ends(evaluated), evaluation_differences(evaluated, results.arms))):
            yield terminal_table(header, rows, title=f"{results.title}, {name}")
    if results.verdicts:
        header, *rows = verdict_table(results)
        yield terminal_table(header, rows, title=results.title)
