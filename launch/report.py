"""One HTML file that shows one run or several: curves, evaluations, transcripts, configuration.

python launch/report.py runs/NAME [runs/OTHER ...] [--out FILE] [--score]

A folder of run folders stands for all of them. The file needs nothing but itself: it opens from disk, without a network.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import sys
from collections.abc import Sequence
from os.path import commonpath
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from launch.entry import BAD_INPUT, UNWRITABLE
from launch.evaluation.other_author import score
from launch.evaluation.tables import evaluation_tables
from launch.storage.run_record import RunRecord, is_run, read_run
from launch.storage.transcript import Transcript
from tandem.config.schema import ConfigError

PAGE = Path(__file__).parent / "report_page"
SCRIPTS = ("dom.js", "curves.js", "tables.js", "list.js", "transcripts.js", "main.js")
"""In the order of their needs; together they are one script."""
FIELDS = ("step", "set", "id", "problem", "question", "gold", "junior", "end", "verdict", "extracted", "reward", "advantage")
"""What the page shows of a rollout, besides its turns."""
NO_CURVES = ("step", "weights/version", "solo/problems")


def report(runs: Sequence[RunRecord]) -> str:
    """The page that shows `runs`."""
    data = {
        "runs": [_run(run) for run in runs],
        "rollouts": [_rollout(sample, index) for index, run in enumerate(runs) for sample in run.samples],
    }
    pages = Environment(loader=FileSystemLoader(PAGE), autoescape=True, undefined=StrictUndefined)
    script = Markup("\n".join((PAGE / name).read_text(encoding="utf-8") for name in SCRIPTS))
    return pages.get_template("page.html").render(
        title=", ".join(run.name for run in runs),
        style=Markup((PAGE / "page.css").read_text(encoding="utf-8")),
        script=script,
        script_hash="sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        data=Markup(script_data(data)),
    )


def script_data(data: Any) -> str:
    """`data` as JSON that may stand in a script element: neither a tag nor a comment can begin in it."""
    return json.dumps(data, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


def _run(run: RunRecord) -> dict[str, Any]:
    keys = {key for row in run.metrics for key in row if key not in NO_CURVES}
    curves = {key: [(row["step"], row[key]) for row in run.metrics if row.get(key) is not None] for key in sorted(keys)}
    return {
        "name": run.name,
        "config": run.config,
        "juniors": len(run.config.get("junior", [])),
        "metrics": {key: points for key, points in curves.items() if points},
        "evaluations": evaluation_tables(run),
    }


def _rollout(sample: Transcript, run: int) -> dict[str, Any]:
    kept = ("author", "tokens", "logprobs", "other_logprobs")
    turns = [{key: turn[key] for key in kept if key in turn} for turn in sample["turns"]]
    return {key: sample[key] for key in FIELDS if key in sample} | {"run": run, "turns": turns}


def find_runs(folders: Sequence[Path]) -> list[Path]:
    """The run folders that `folders` are, or hold. Raises `ConfigError` for one that is neither."""
    found: list[Path] = []
    for folder in folders:
        inner = sorted(path for path in folder.glob("*/") if is_run(path)) if not is_run(folder) else [folder]
        if not inner:
            raise ConfigError(f"{folder}: no run folder, and none in it; name a folder with a metrics.jsonl, such as runs/NAME")
        found += [path.resolve() for path in inner]
    return list(dict.fromkeys(found))


def main(arguments: Sequence[str] | None = None) -> None:
    """Writes the report; exits with 2 and a message when there is nothing to report on."""
    parser = argparse.ArgumentParser(prog="launch/report.py", description="One HTML file that shows one run or several.")
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="a run folder, or a folder of run folders")
    parser.add_argument("--out", type=Path, help="default: report.html in the run folder, or in the folder of all the runs")
    parser.add_argument("--score", action="store_true", help="also score every token under the author that did not write it")
    given = parser.parse_args(arguments)
    try:
        folders = find_runs(given.runs)
        runs = [read_run(folder) for folder in folders]
        if given.score:
            for run in runs:
                score(run)
        out = given.out or Path(commonpath(folders)) / "report.html"
        out.write_text(report(runs), encoding="utf-8")
    except ConfigError as error:
        print(f"report.py: {error}", file=sys.stderr)
        sys.exit(BAD_INPUT)
    except OSError as error:  # the page could not be written, or a run folder not be read
        print(f"report.py: {error}", file=sys.stderr)
        sys.exit(UNWRITABLE)
    print(f"{out} ({out.stat().st_size / 2**20:.1f} MiB)")


if __name__ == "__main__":
    main()
