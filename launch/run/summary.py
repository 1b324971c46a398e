"""The end of a run in the terminal: how long it took, what it reached, and what one does next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from launch.run.console import interval
from launch.run.next_commands import next_commands
from launch.text_tables import clock
from tandem.config.schema import Config
from tandem.measures.names import ACCURACY, PROBLEM_COUNT

Row = Mapping[str, float]


def summary(config: Config, folder: Path, rows: Sequence[Row], total_s: float) -> list[str]:
    """Return the lines on a finished run, whose metrics are `rows`; it took `total_s` seconds."""
    return [_times(rows, total_s), *_accuracies(rows), "Next:", *_next(next_commands(config, folder, rows))]


def _times(rows: Sequence[Row], total_s: float) -> str:
    """Return the total time and its parts; an evaluation is no part of its step's time."""
    training, evaluation = (sum(row.get(key, 0.0) for row in rows) for key in ("time/step_s", "time/evaluate_s"))
    other = max(0.0, total_s - training - evaluation)
    parts = {"start-up and the rest": other, "training": training, "evaluation": evaluation}
    return f"{int(rows[-1]['step'])} steps in {clock(total_s)}: " + ", ".join(
        f"{name} {clock(spent)}" for name, spent in parts.items()
    )


def _accuracies(rows: Sequence[Row]) -> list[str]:
    """Return the accuracy before and after training, and at the best step if that is another."""
    evaluated = [row for row in rows if ACCURACY in row]
    if not evaluated:
        return []
    first, last, best = evaluated[0], evaluated[-1], max(evaluated, key=lambda row: row[ACCURACY])
    problems = f" on {int(last[PROBLEM_COUNT])} held-out problems" if PROBLEM_COUNT in last else ""
    lines = [f"solo accuracy{problems}: {interval(first)} before, {interval(last)} after (95 % intervals)"]
    if best[ACCURACY] > last[ACCURACY] and best is not first:
        lines.append(f"best after step {int(best['step'])}: {interval(best)}")
    return lines


def _next(commands: Mapping[str, str]) -> list[str]:
    """Return a line for each of `commands`, with its purpose."""
    width = max(map(len, commands))
    return [f"  {command:<{width}}  # {purpose}" for command, purpose in commands.items()]
