"""The results of a sweep: a row for each run and means over seeds, as JSON, as Markdown and for the terminal."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from launch.experiments.run_outcome import FINISHED, INTERRUPTED, WAITING, RunOutcome, read_outcome
from launch.experiments.sweep_runs import SweepRun
from launch.text_tables import escaped, markdown_table, number_cell, seconds_cell, seeds_cell, terminal_table
from tandem.measures.estimates import SeedStatistics, seed_statistics
from tandem.measures.names import ACCURACY
from tandem.records.json_files import LogReader
from tandem.records.run_record import METRICS

SEED = "seed"
"""The key over which runs are grouped."""
MEASURES = ("solo_accuracy", "reward", "seconds")
"""The fields of `RunResult` that groups summarize."""
SUMMARY = Path("summary.json")
MARKDOWN = Path("summary.md")


@dataclass(frozen=True)
class RunResult:
    """The result of one run. A measure is None if the run ended before it."""

    run: str
    """the name of its folder"""
    overrides: dict[str, str]
    """the overrides in which the runs of the sweep differ"""
    state: str
    exit_code: int | None
    error: str
    step: int | None
    """the last logged step"""
    solo_accuracy: float | None
    """at its last evaluation"""
    reward: float | None
    """the mean reward of its last step"""
    seconds: float | None
    """wall time of all attempts"""


@dataclass(frozen=True)
class SeedGroup:
    """Runs that differ in their seed alone, and the statistics of those that have finished."""

    overrides: dict[str, str]
    solo_accuracy: SeedStatistics | None
    reward: SeedStatistics | None
    seconds: SeedStatistics | None


def result_of(run: SweepRun) -> RunResult:
    """Return the run's result so far, from its folder."""
    outcome, rows = read_outcome(run.path), list(LogReader(run.path / METRICS).new())
    return RunResult(
        run=run.path.name,
        overrides=run.swept,
        state=_state(run, outcome),
        exit_code=outcome.exit_code if outcome else None,
        error=outcome.error if outcome else "",
        step=int(rows[-1]["step"]) if rows else None,
        solo_accuracy=_last(rows, ACCURACY),
        reward=_last(rows, "reward/mean"),
        seconds=outcome.seconds if outcome else None,
    )


def _state(run: SweepRun, outcome: RunOutcome | None) -> str:
    """Return the run's state; a finished run is interrupted if the sweep has more steps now."""
    if outcome is None:
        return INTERRUPTED if run.path.exists() else WAITING
    return INTERRUPTED if outcome.state == FINISHED and not run.finished else outcome.state


def _last(rows: Sequence[Mapping[str, float]], key: str) -> float | None:
    return next((row[key] for row in reversed(rows) if key in row), None)


def grouped(results: Sequence[RunResult]) -> list[SeedGroup]:
    """Return the runs grouped over their seeds; [] if all have the same seed."""
    groups: dict[tuple[tuple[str, str], ...], list[RunResult]] = {}
    for result in results:
        if SEED in result.overrides:
            groups.setdefault(tuple((key, value) for key, value in result.overrides.items() if key != SEED), []).append(result)
    return [SeedGroup(dict(key), **{name: _sample(name, runs) for name in MEASURES}) for key, runs in groups.items()]


def _sample(measure: str, results: Iterable[RunResult]) -> SeedStatistics | None:
    values = [value for run in results if run.state == FINISHED and (value := getattr(run, measure)) is not None]
    return seed_statistics(values) if values else None


class SweepSummary:
    """The results of all runs of a sweep, written to files or shown."""

    def __init__(self, name: str, results: Sequence[RunResult]) -> None:
        self.name, self.results, self.groups = name, results, grouped(results)
        self._keys = list(results[0].overrides)

    @property
    def complete(self) -> bool:
        """Whether every run has finished."""
        return all(result.state == FINISHED for result in self.results)

    def write(self, folder: Path) -> None:
        """Write summary.json and summary.md to `folder`."""
        content: dict[str, Any] = {"name": self.name} | {
            key: [asdict(each) for each in parts] for key, parts in (("runs", self.results), ("groups", self.groups))
        }
        (folder / SUMMARY).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        markdown = [markdown_table(columns, rows, escape=True) for columns, rows in self._tables()]
        errors = "".join(f"- {result.run}: {escaped(result.error)}\n" for result in self.results if result.error)
        (folder / MARKDOWN).write_text(
            "\n".join([f"# {self.name}\n", *markdown, *([errors] if errors else [])]), encoding="utf-8"
        )

    def tables(self) -> list[Table]:
        """Return the tables for the terminal."""
        return [terminal_table(columns, rows, left=len(self._keys)) for columns, rows in self._tables()]

    def _tables(self) -> list[tuple[list[str], list[list[str]]]]:
        """Return columns and rows of the runs, and of the groups if there are any."""
        columns = [*self._keys, "state", "step", "solo acc.", "reward", "wall time"]
        tables = [(columns, [self._row(result) for result in self.results])]
        if self.groups:
            keys = [key for key in self._keys if key != SEED]
            columns = [*keys, "finished", "solo acc.", "reward", "wall time"]
            tables.append((columns, [self._group_row(group) for group in self.groups]))
        return tables

    def _row(self, result: RunResult) -> list[str]:
        state = result.state if result.state == FINISHED or result.exit_code is None else f"{result.state} ({result.exit_code})"
        measures = [number_cell(result.solo_accuracy), number_cell(result.reward), seconds_cell(result.seconds)]
        return [*result.overrides.values(), state, "" if result.step is None else str(result.step), *measures]

    def _group_row(self, group: SeedGroup) -> list[str]:
        members = [run for run in self.results if {**group.overrides, SEED: ""} == {**run.overrides, SEED: ""}]
        finished = f"{group.seconds.runs if group.seconds else 0} of {len(members)}"
        measures = [
            seeds_cell(group.solo_accuracy, number_cell),
            seeds_cell(group.reward, number_cell),
            seeds_cell(group.seconds, seconds_cell),
        ]
        return [*group.overrides.values(), finished, *measures]
