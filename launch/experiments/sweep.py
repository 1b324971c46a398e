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
from launch.experiments import process
from launch.experiments.summary import Summary, result_of
from launch.experiments.sweep_arms import Arm, checked
from launch.report_page.page import report_page
from launch.run.inputs import read_inputs
from launch.run.plan_only import check_named, show_plan
from launch.storage.owner import owned
from launch.storage.run_record import is_run, read_run
from launch.terminal import terminal_console
from tandem.config.schema import Config

INCOMPLETE = 1
"""The exit code when a run has not finished."""
REPORT = Path("report.html")


def run_sweep(arms: Sequence[Arm], overrides: Sequence[str]) -> None:
    """Run the arms of a command line's `overrides` with Hydra's launcher, and write their summary, even after an interrupt.

    Hydra must be initialized. Exits with 1 unless all arms finish. Raises `ConfigError` before the first arm starts.
    """
    folder, console = arms[0].folder.parent, terminal_console()
    use_cache(arms[0].config)
    if arms[0].config.plan_only:
        todo = [arm for arm in arms if not arm.finished]
        checked(check_named, [arm.config for arm in todo], [arm.label for arm in todo])
        for arm in arms:
            console.print(f"{arm.label}{' (finished)' if arm.finished else ''}:", soft_wrap=True)
            show_plan(arm.config)
        return
    with given_cluster():  # the Ray launcher uses the connected cluster
        todo = [arm for arm in arms if not arm.finished]
        checked(check_inputs, [arm.config for arm in todo], [arm.label for arm in todo])
        console.print(f"sweep folder {folder}: {len(arms)} runs, {len(todo)} to do", soft_wrap=True)
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        with owned(folder, f"name={folder.name}"):
            try:
                with closing(process.Worker()) as worker:
                    run_arm = partial(process.run_arm, arms=arms, worker=worker)
                    hydra.multirun("config", run_arm, [*overrides, f"hydra.sweep.dir={quoted(str(folder))}"])
            finally:
                summary = sum_up(arms, folder, console)
    if not summary.complete:
        sys.exit(INCOMPLETE)


def check_inputs(config: Config) -> None:
    """Raise `ConfigError` for unusable models, data or run folder, or too few GPUs."""
    read_inputs(config)


def sum_up(arms: Sequence[Arm], folder: Path, console: Console) -> Summary:
    """Write and print the summary of a sweep, and write the report on its runs that have logged metrics."""
    summary = Summary(folder.name, [result_of(arm) for arm in arms])
    summary.write(folder)
    for table in summary.tables():
        console.print(table)
    for result in summary.results:
        if result.error:
            console.print(f"{result.run}: {result.error}", soft_wrap=True)
    console.print(f"summary {folder / 'summary.md'}", soft_wrap=True)
    if runs := [read_run(arm.folder) for arm in arms if is_run(arm.folder)]:
        (folder / REPORT).write_text(report_page(runs), encoding="utf-8")
        console.print(f"report {folder / REPORT}", soft_wrap=True)
    return summary
