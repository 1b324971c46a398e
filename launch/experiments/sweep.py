"""A sweep: `python launch/train.py --multirun KEY=VALUE,VALUE ...`. Every run is checked before the first starts."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

from hydra.core.global_hydra import GlobalHydra
from rich.console import Console

from launch.cluster.local_cluster import given_cluster
from launch.command_line import quoted
from launch.entry import use_cache
from launch.experiments import sweep_worker
from launch.experiments.summary import MARKDOWN, SweepSummary, result_of
from launch.experiments.sweep_runs import SweepRun, check_all
from launch.report_page.page import report_page
from launch.run.inputs import read_inputs
from launch.run.plan_only import check_named, show_plan
from launch.storage.owner import owned
from launch.terminal import terminal_console
from tandem.config.schema import Config
from tandem.records.run_record import is_run, read_run

INCOMPLETE = 1
"""The exit code when a run has not finished."""
REPORT = Path("report.html")


def run_sweep(runs: Sequence[SweepRun], overrides: Sequence[str]) -> None:
    """Make the runs of a command line's `overrides` with Hydra's launcher, and write their summary, even after an interrupt.

    Hydra must be initialized. Exits with 1 unless all runs finish. Raises `ConfigError` before the first one starts.
    """
    folder, console = runs[0].path.parent, terminal_console()
    use_cache(runs[0].config)
    if runs[0].config.plan_only:
        todo = [run for run in runs if not run.finished]
        check_all(lambda run: check_named(run.config), todo)
        for run in runs:
            console.print(f"{run.label}{' (finished)' if run.finished else ''}:", soft_wrap=True)
            show_plan(run.config)
        return
    with given_cluster():  # the Ray launcher uses the connected cluster
        todo = [run for run in runs if not run.finished]
        check_all(lambda run: check_inputs(run.config), todo)
        console.print(f"sweep folder {folder}: {len(runs)} runs, {len(todo)} to do", soft_wrap=True)
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        with owned(folder, f"name={folder.name}"):
            try:
                with closing(sweep_worker.Worker()) as worker:
                    execute_run = partial(sweep_worker.execute_run, runs=runs, worker=worker)
                    hydra.multirun("config", execute_run, [*overrides, f"hydra.sweep.dir={quoted(str(folder))}"])
            finally:
                summary = sum_up(runs, folder, console)
    if not summary.complete:
        sys.exit(INCOMPLETE)


def check_inputs(config: Config) -> None:
    """Raise `ConfigError` for unusable models, data or run folder, or too few GPUs."""
    read_inputs(config)


def sum_up(runs: Sequence[SweepRun], folder: Path, console: Console) -> SweepSummary:
    """Write and print the summary of a sweep, and write the report on its runs that have logged metrics."""
    summary = SweepSummary(folder.name, [result_of(run) for run in runs])
    summary.write(folder)
    for table in summary.tables():
        console.print(table)
    for result in summary.results:
        if result.error:
            console.print(f"{result.run}: {result.error}", soft_wrap=True)
    console.print(f"summary {folder / MARKDOWN}", soft_wrap=True)
    if records := [read_run(run.path) for run in runs if is_run(run.path)]:
        (folder / REPORT).write_text(report_page(records), encoding="utf-8")
        console.print(f"report {folder / REPORT}", soft_wrap=True)
    return summary
