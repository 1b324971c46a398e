"""The report of runs as one HTML page that needs no network."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from launch.evaluation.tables import evaluation_tables
from tandem.measures.names import PROBLEM_COUNT
from tandem.records.run_record import RunRecord
from tandem.records.transcript import Transcript

FOLDER = Path(__file__).parent
SCRIPTS = ("dom.js", "curves.js", "tables.js", "list.js", "transcripts.js", "main.js")
"""In the order of their dependencies; the page joins them into one script."""
ROLLOUT_FIELDS = (
    "step",
    "set",
    "id",
    "problem",
    "question",
    "gold",
    "junior",
    "end",
    "verdict",
    "extracted",
    "reward",
    "advantage",
)
"""What the page shows of a rollout besides its turns."""
TURN_FIELDS = ("author", "tokens", "logprobs", "other_logprobs")
NO_CURVES = ("step", "weights/version", PROBLEM_COUNT)


def report_page(runs: Sequence[RunRecord]) -> str:
    """Return the HTML page that shows `runs`."""
    data = {
        "runs": [_run_data(run) for run in runs],
        "rollouts": [_rollout_data(sample, index) for index, run in enumerate(runs) for sample in run.samples],
    }
    templates = Environment(loader=FileSystemLoader(FOLDER), autoescape=True, undefined=StrictUndefined)
    script = Markup("\n".join((FOLDER / name).read_text(encoding="utf-8") for name in SCRIPTS))
    return templates.get_template("page.html").render(
        title=", ".join(run.name for run in runs),
        style=Markup((FOLDER / "page.css").read_text(encoding="utf-8")),
        script=script,
        script_hash="sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        data=Markup(script_data(data)),
    )


def script_data(data: Any) -> str:
    """Return `data` as JSON for a script element, in which neither a tag nor a comment can begin."""
    return json.dumps(data, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


def _run_data(run: RunRecord) -> dict[str, Any]:
    keys = {key for row in run.metrics for key in row if key not in NO_CURVES}
    curves = {key: [(row["step"], row[key]) for row in run.metrics if row.get(key) is not None] for key in sorted(keys)}
    return {
        "name": run.name,
        "config": run.config,
        "juniors": len(run.config.get("junior", [])),
        "metrics": {key: points for key, points in curves.items() if points},
        "evaluations": evaluation_tables(run),
    }


def _rollout_data(sample: Transcript, run: int) -> dict[str, Any]:
    turns = [{key: turn[key] for key in TURN_FIELDS if key in turn} for turn in sample["turns"]]
    return {key: sample[key] for key in ROLLOUT_FIELDS if key in sample} | {"run": run, "turns": turns}
