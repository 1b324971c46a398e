"""Write one HTML file that shows runs: curves, evaluations, transcripts, configuration.

python launch/report.py runs/NAME [runs/OTHER ...] [--out FILE] [--score]

A folder of run folders stands for all of them. The file opens from disk and needs no network.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from os.path import commonpath
from pathlib import Path

from launch.entry import exit_codes
from launch.report_page.page import report_page
from launch.storage.disk import UnwritableError
from tandem.config.schema import ConfigError
from tandem.records.run_record import is_run, read_run


def find_runs(folders: Sequence[Path]) -> list[Path]:
    """Return `folders`, each replaced by the run folders in it unless it is one. Raises `ConfigError` when there are none."""
    runs: list[Path] = []
    for folder in folders:
        inner = sorted(path for path in folder.glob("*/") if is_run(path)) if not is_run(folder) else [folder]
        if not inner:
            raise ConfigError(
                f"{folder}: neither a run folder nor a folder of run folders; name one with a metrics.jsonl, such as runs/NAME"
            )
        runs += [path.resolve() for path in inner]
    return list(dict.fromkeys(runs))


def write_report(paths: Sequence[Path], out: Path | None, *, score_others: bool) -> Path:
    """Write the report on the runs in the folders `paths` to `out`, by default into their common folder; return its path."""
    folders = find_runs(paths)
    runs = [read_run(folder) for folder in folders]
    if score_others:
        from launch.evaluation.other_author import score_by_other_author  # imports torch, which takes seconds

        for run in runs:
            score_by_other_author(run)
    out = out or Path(commonpath(folders)) / "report.html"
    out.write_text(report_page(runs), encoding="utf-8")
    return out


def main() -> None:
    """Write the report; exit with 2 and a message when there is nothing to report on."""
    parser = argparse.ArgumentParser(prog="launch/report.py", description="One HTML file that shows one run or several.")
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="a run folder, or a folder of run folders")
    parser.add_argument("--out", type=Path, help="default: report.html in the run folder, or in the folder of all the runs")
    parser.add_argument("--score", action="store_true", help="also score every token under the author that did not write it")
    arguments = parser.parse_args()
    with exit_codes():
        try:
            out = write_report(arguments.runs, arguments.out, score_others=arguments.score)
        except OSError as error:  # the page could not be written, or a run folder not be read
            raise UnwritableError(str(error)) from error
        print(f"{out} ({out.stat().st_size / 2**20:.1f} MiB)")


if __name__ == "__main__":
    main()
