"""Compares arms over seeds: `python launch/experiment.py preset=NAME [seeds=3] [arms=tandem,grpo] [key=value ...]`.

The presets are the files of conf/experiment_preset/; other keys are those of launch/train.py, for every run. A second start
goes on where the first was stopped. See docs/experiments.md.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

from rich.console import Console

from launch.cluster.local_cluster import ray_cluster
from launch.entry import exit_codes, use_cache
from launch.experiments.engines import SharedEngines
from launch.experiments.figure import draw
from launch.experiments.page import NUMBERS, PICTURE, terminal, write_page
from launch.experiments.preset import Experiment, Run, experiment
from launch.experiments.results import Results, read_results, write_results
from launch.experiments.runs import check_unchanged, finished, make
from launch.storage.owner import owned


def compare(compared: Experiment, console: Console) -> None:
    """Makes all runs that are not finished, one after the other, and writes what came out after each."""
    began = time.monotonic()
    for run in compared.runs:
        check_unchanged(run)
    done = [run for run in compared.runs if finished(run)]
    left = [run for run in compared.runs if run not in done]
    console.print(f"{compared.folder}: {len(compared.runs)} runs, {len(done)} of them finished", highlight=False)
    if left:
        with ray_cluster(logs=compared.folder / "logs"), SharedEngines() as engines:
            for run in left:
                console.rule(f"{run.arm}, seed {run.seed}: run {len(done) + 1} of {len(compared.runs)}")
                make(run, engines)
                done.append(run)
                report(compared, done)
    for table in terminal(report(compared, done)):
        console.print(table)
    minutes = (time.monotonic() - began) / 60
    console.print(f"{minutes:.1f} minutes; results in {compared.results / compared.name}.md", highlight=False, soft_wrap=True)
    console.print(f"every run: python launch/report.py {compared.folder}", highlight=False, soft_wrap=True)


def report(compared: Experiment, done: Sequence[Run]) -> Results:
    """Writes the numbers, the picture and the page of the finished runs."""
    results = read_results(compared, done)
    folder = compared.results / compared.name
    folder.mkdir(parents=True, exist_ok=True)
    write_results(results, compared, folder / NUMBERS)
    draw(results).savefig(folder / PICTURE)
    write_page(results, compared, folder.with_name(f"{compared.name}.md"))
    return results


if __name__ == "__main__":
    with exit_codes():
        compared = experiment(sys.argv[1:])
        use_cache(compared.runs[0].config)
        with owned(compared.folder, f"name={compared.name}"):
            compare(compared, Console())
