"""A run's evaluations as tables, each estimate with its interval."""

from __future__ import annotations

import json
from collections.abc import Iterator
from math import sqrt
from pathlib import Path
from typing import Any

from launch.run_record import RunRecord

Z = 1.96
"""Standard errors to either side of a 95 % interval."""
Table = dict[str, Any]
"""title, note, columns, and rows of cells: text, numbers, or an estimate {value, low, high}"""


def evaluation_tables(run: RunRecord) -> list[Table]:
    """What was measured while the run went on, and what the files of its folder `evaluation` say."""
    tables = [_solo(run), *map(_of_file, sorted((run.path / "evaluation").rglob("*.json")))]
    return [table for table in tables if table["rows"]]


def _solo(run: RunRecord) -> Table:
    rows = [row for row in run.metrics if "solo/accuracy" in row]
    return {
        "title": "Solo accuracy during training",
        "note": "the senior alone on held-out problems, with 95 % intervals (Wilson)",
        "columns": ["after step", "problems", "accuracy"],
        "rows": [
            [row["step"], row.get("solo/problems"), share(row["solo/accuracy"], row.get("solo/problems"))] for row in rows
        ],
    }


def _of_file(path: Path) -> Table:
    measures = list(_measures(json.loads(path.read_text(), parse_constant=lambda _: None), ""))
    return {
        "title": f"Evaluation: {path.stem if path.parent.name == 'evaluation' else path.parent.name}",
        "note": str(path),
        "columns": ["measure", "value"],
        "rows": measures,
    }


def _measures(node: Any, name: str) -> Iterator[tuple[str, Any]]:
    """The numbers in `node` by their paths; an object with a `value` and bounds (`low` and `high`, or an `interval`) is one."""
    if isinstance(node, dict) and "value" in node:
        low, high = node.get("interval") or (node.get("low"), node.get("high"))
        yield name, {"value": node["value"], "low": low, "high": high}
    elif isinstance(node, dict):
        for key, inner in node.items():
            yield from _measures(inner, f"{name}/{key}" if name else key)
    elif isinstance(node, int | float):
        yield name, node


def share(value: float, count: float | None) -> dict[str, float]:
    """A share of `count` trials with its Wilson interval; without the count there is none."""
    if not count:
        return {"value": value}
    centre = (value + Z**2 / (2 * count)) / (1 + Z**2 / count)
    reach = Z / (1 + Z**2 / count) * sqrt(value * (1 - value) / count + Z**2 / (4 * count**2))
    return {"value": value, "low": max(0.0, centre - reach), "high": min(1.0, centre + reach)}
