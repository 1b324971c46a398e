"""Run an experiment or show what would run, and write its results."""

from __future__ import annotations

import time
from collections.abc import Sequence
from operator import attrgetter

from rich.console import Console

from launch.cluster.local_cluster import ray_cluster
from launch.experiments import evaluations
from launch.experiments.engines import SharedEngines
from launch.experiments.evaluation_figure import draw_evaluated, evaluation_figure
from launch.experiments.figure import draw_experiment
from launch.experiments.page import FIGURE, NUMBERS, terminal, write_page
from launch.experiments.preset import Experiment, ExperimentRun
from launch.experiments.results import ExperimentResults, read_results, write_results
from launch.experiments.run_outcome import FINISHED, Run, RunOutcome
from launch.run.plan_only import show_plan
from launch.run.program import train_and_export
from launch.text_tables import terminal_table
from tandem.config.schema import SETTINGS, ConfigError
from tandem.records.run_record import CONFIG, LOGS, saved_config

COMPARED = ("steps", *(key for key in SETTINGS if key.startswith("eval.")))
"""Settings that a single run may change on resume, but that must be equal in runs that are compared."""


def run_experiment(compared: Experiment, console: Console) -> None:
    """Run all unfinished runs, one after the other, then all missing evaluations.

    Write the results after each run and at the end.
    """
    start = time.monotonic()
    for run in compared.runs:
        check_same_settings(run)
    finished = [run for run in compared.runs if run.finished]
    remaining = [run for run in compared.runs if run not in finished]
    console.print(f"{compared.folder}: {len(compared.runs)} runs, {len(finished)} of them finished")
    missing = [evaluation for evaluation in compared.evaluations if remaining or not evaluation.finished]
    if remaining or missing:
        with ray_cluster(logs=compared.folder / LOGS), SharedEngines() as engines:
            for run in remaining:
                console.rule(f"{run.arm}, seed {run.seed}: run {len(finished) + 1} of {len(compared.runs)}")
                train_run(run, engines)
                finished.append(run)
                report(compared, finished)
            for number, evaluation in enumerate(missing, start=1):
                if not evaluation.finished:
                    console.rule(f"{evaluation.name} of {evaluation.arm}, seed {evaluation.seed}: {number} of {len(missing)}")
                    evaluations.run_evaluation(evaluation, engines)
    for table in terminal(report(compared, finished)):
        console.print(table)
    minutes = (time.monotonic() - start) / 60
    console.print(f"{minutes:.1f} minutes; results in {compared.results / compared.name}.md", soft_wrap=True)
    console.print(f"every run: python launch/report.py {compared.folder}", soft_wrap=True)


def check_same_settings(run: Run) -> None:
    """Raise `ConfigError` when the run's folder holds a run with other settings."""
    path = run.path / CONFIG
    if not path.exists():
        return
    saved = saved_config(path)
    for key, setting in SETTINGS.items():
        value, before = attrgetter(key)(run.config), attrgetter(key)(saved)
        if value != before and (key in COMPARED or setting.on_resume != "change"):
            raise ConfigError(f"{key}={value}: {run.path} was made with {before}; choose another name, or remove that folder")


def train_run(run: Run, engines: SharedEngines) -> None:
    """Start or resume a run as launch/train.py does, in the Ray cluster of this process, and write its outcome."""
    start = time.monotonic()
    train_and_export(run.config, engines.borrow_engines, elsewhere=False)  # evaluations look in the run folder alone
    RunOutcome(FINISHED, 0, run.seconds_since(start), run.config.steps).write(run.path)


def show_experiment(compared: Experiment, console: Console) -> None:
    """Print all runs and evaluations and the plan of the first run, and start none."""
    rows = [(run.config.name, str(run.config.steps), " ".join(compared.arms[run.arm])) for run in compared.runs]
    console.print(terminal_table(("run", "steps", "overrides"), rows, title=str(compared.folder)))
    measured = [
        (each.name, each.arm, str(each.seed), ", ".join(each.config.eval.measures), ", ".join(each.config.eval.sets))
        for each in compared.evaluations
    ]
    if measured:
        console.print(terminal_table(("evaluation", "model", "seed", "measures", "benchmarks"), measured))
    show_plan(compared.runs[0].config)


def report(compared: Experiment, finished_runs: Sequence[ExperimentRun]) -> ExperimentResults:
    """Write the numbers, the figure and the page of the finished runs; return their results."""
    results = read_results(compared, finished_runs)
    folder = compared.results / compared.name
    folder.mkdir(parents=True, exist_ok=True)
    write_results(results, compared, folder / NUMBERS)
    draw_experiment(results).savefig(folder / FIGURE)
    for name, evaluated in results.evaluated.items():
        draw_evaluated(evaluated).savefig(folder / evaluation_figure(name))
    write_page(results, compared, folder.with_name(f"{compared.name}.md"))
    return results
