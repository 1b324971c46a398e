"""Compare two evaluations problem by problem: `python launch/compare.py A B [--json]`.

A and B are runs (their last evaluation), checkpoints of runs, or folders of launch/evaluate.py. See docs/evaluation.md.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from launch.entry import exit_codes
from launch.evaluation.paired import read_problem_scores
from launch.terminal import terminal_console
from launch.text_tables import terminal_table
from tandem.measures.bootstrap import CONFIDENCE
from tandem.measures.differences import Difference, compare_evaluations
from tandem.measures.estimates import percent


def main() -> None:
    """Print the differences; exit with 2 and a message when the evaluations cannot be compared."""
    parser = argparse.ArgumentParser(prog="launch/compare.py", description="Compare two evaluations problem by problem.")
    parser.add_argument("first", type=Path, metavar="A", help="a run, one of its checkpoints, or an evaluation's folder")
    parser.add_argument("second", type=Path, metavar="B", help="the same; differences are B - A")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    arguments = parser.parse_args()
    with exit_codes():
        first, second = read_problem_scores(arguments.first), read_problem_scores(arguments.second)
        differences, problems = compare_evaluations(first, second)
        if arguments.json:
            print(
                json.dumps(
                    {"a": first.label, "b": second.label, "problems": problems, "measures": list(map(asdict, differences))}
                )
            )
        else:
            show(differences, f"A: {first.label}\nB: {second.label}\n{problems} common problems")


def show(differences: Sequence[Difference], title: str) -> None:
    """Print a table; an interval without 0 is marked."""
    console = terminal_console()
    console.print(title)
    rows = [
        (
            each.measure,
            f"{each.first:.4f}",
            f"{each.second:.4f}",
            f"{each.difference.value:+.4f}",
            _interval(each),
            f"{each.greater} / {each.less}",
        )
        for each in differences
    ]
    console.print(
        terminal_table(("measure", "A", "B", "B - A", f"{percent(CONFIDENCE)} interval", "greater / less"), rows, left=1)
    )


def _interval(difference: Difference) -> str:
    low, high = difference.difference.low, difference.difference.high
    if low is None or high is None:
        return ""
    return f"{low:+.4f} to {high:+.4f}{' *' if low > 0 or high < 0 else ''}"


if __name__ == "__main__":
    main()
