"""A run's evaluations as tables, each estimate with its interval."""

from __future__ import annotations

import json
from math import sqrt
from pathlib import Path
from typing import Any

from launch.storage.run_record import RunRecord

Z = 1.96
"""Standard errors to either side of a 95 % interval."""
Table = dict[str, Any]
"""title, note, columns, and rows of cells: text, numbers, or an estimate {value, low, high}"""


def evaluation_tables(run: RunRecord) -> list[Table]:
    """What was measured while the run went on, and what launch/evaluate.py left in the run's folder `evaluation`."""
    tables = [_solo(run), *map(_evaluation, sorted((run.path / "evaluation").glob("*/result.json")))]
    return [table for table in tables if table["rows"]]


def _solo(run: RunRecord) -> Table:
    rows = [row for row in run.metrics if "solo/accuracy" in row]
    return {
        "title": "Solo accuracy during training",
        "note": "the senior alone on held-out problems, with 95 % intervals (Wilson's, as if each problem had one text)",
        "columns": ["after step", "problems", "accuracy"],
        "rows": [
            [row["step"], row.get("solo/problems"), share(row["solo/accuracy"], row.get("solo/problems"))] for row in rows
        ],
    }


def _evaluation(path: Path) -> Table:
    found = json.loads(path.read_text(encoding="utf-8"), parse_constant=lambda _: None)
    about = [f"{found['problems']} problems", found["senior"], f"{found['settings']['eval']['confidence']:.0%} intervals"]
    return {
        "title": f"Evaluation {path.parent.name}",
        "note": "; ".join([*about, *found["notes"]]),
        "columns": ["measure", "value"],
        "rows": [[name, score] for name, score in found["scores"].items()],
    }


def share(value: float, count: float | None) -> dict[str, float]:
    """A share of `count` trials with its Wilson interval; without the count there is none."""
    if not count:
        return {"value": value}
    centre = (value + Z**2 / (2 * count)) / (1 + Z**2 / count)
    reach = Z / (1 + Z**2 / count) * sqrt(value * (1 - value) / count + Z**2 / (4 * count**2))
    return {"value": value, "low": max(0.0, centre - reach), "high": min(1.0, centre + reach)}
