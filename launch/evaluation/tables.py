"""Tables of a run's evaluations, each estimate with its interval."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from tandem.config.schema import ConfigError
from tandem.measures.estimates import percent, share
from tandem.measures.names import ACCURACY, PROBLEM_COUNT
from tandem.records.json_files import read_json
from tandem.records.run_record import EVALUATIONS, RESULT, RunRecord, best_senior

Table = dict[str, Any]
"""title, note, columns, and rows of cells: text, numbers, or an estimate {value, low, high}"""


def evaluation_tables(run: RunRecord) -> list[Table]:
    """Return tables of the evaluations during the run, and of those by launch/evaluate.py in the folder `evaluation`."""
    tables = [_solo(run), *map(_evaluation, sorted((run.path / EVALUATIONS).glob(f"*/{RESULT}")))]
    return [table for table in tables if table["rows"]]


def _solo(run: RunRecord) -> Table:
    rows = [row for row in run.metrics if ACCURACY in row]
    note = "the senior alone on held-out problems, with 95 % intervals (Wilson's, as if each problem had one text)"
    measure = run.config.get("eval.select")
    if best := best_senior(run.path):
        note += f"; {best.relative_to(run.path)} is the best senior by {measure}"
    return {
        "title": "Solo accuracy during training",
        "note": note,
        "columns": ["after step", "problems", "accuracy"],
        "rows": [
            [row["step"], problems, asdict(share(row[ACCURACY], problems))]
            for row in rows
            for problems in [row.get(PROBLEM_COUNT)]
        ],
    }


def _evaluation(path: Path) -> Table:
    result = read_json(path)
    try:
        about = [
            f"{result['problems']} problems",
            result["senior"],
            f"{percent(result['settings']['eval']['confidence'])} intervals",
        ]
        return {
            "title": f"Evaluation {path.parent.name}",
            "note": "; ".join([*about, *result["notes"]]),
            "columns": ["measure", "value"],
            "rows": [[name, score] for name, score in result["scores"].items()],
        }
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigError(f"{path}: this was not written by launch/evaluate.py; restore it, or remove that folder") from error
