"""A run without engines: the learner learns from saved rollouts, or from random ones that show how much memory it takes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from statistics import median

from launch.cluster.local_cluster import given_cluster, ray_cluster
from launch.cluster.locks import SEGMENT, claimed_file
from launch.cluster.plan import print_plan, run_plan
from launch.cluster.reservation import reserve_placements
from launch.run.console import TrainingConsole
from launch.run.export import export_senior
from launch.run.given_groups import StepGroups, random_step_groups, saved_step_groups
from launch.run.loop import check_update
from launch.run.profiling import step_clock
from launch.run.startup import describe_components, start_learner
from launch.status import LEARNER, status, usual_start
from launch.storage.run_folder import RunFolder
from learner.group import LearnerGroup
from tandem.advantage import assign_advantages
from tandem.authors import Authors, load_authors
from tandem.config.schema import Config
from tandem.metrics import PhaseTimer, rollout_metrics
from tandem.plan.run_plan import RunPlan, planned
from tandem.runtime.segment import segment_folder
from tandem.runtime.units import GIB
from tandem.runtime.weights import SHM


@dataclass(frozen=True)
class LearnerInputs:
    """What a run without engines begins with."""

    config: Config
    plan: RunPlan
    authors: Authors
    folder: RunFolder
    groups_of: StepGroups


def learner_only(config: Config) -> None:
    """Train without engines. Raises `ConfigError` for a configuration that cannot be used."""
    with given_cluster():
        inputs = read_learner_inputs(config)
        with inputs.folder as folder, ray_cluster(logs=folder.logs):
            train_learner(inputs)


def read_learner_inputs(config: Config) -> LearnerInputs:
    """Return what the run begins with. Raises `ConfigError` for a configuration that cannot be used."""
    plan = run_plan(config)
    config = planned(config, plan)
    authors, folder = load_authors(config), RunFolder(config)
    groups_of = random_step_groups(config, authors) if config.has_random_rollouts else saved_step_groups(config, authors)
    return LearnerInputs(config, plan, authors, folder, groups_of)


def train_learner(inputs: LearnerInputs) -> None:
    """Take all steps, export the senior, and print memory and time, in a Ray cluster and with an open run folder."""
    config, folder, console = inputs.config, inputs.folder, TrainingConsole(inputs.config.steps)
    with running_learner(inputs, console) as learner:
        with console:
            for step in range(1, config.steps + 1):
                with step_clock(config, step, folder.trace, [learner], console.print) as clock:
                    row = learner_step(inputs, learner, step, clock)
                check_update(
                    row, step, config.guard, console.print, check_gap=not config.has_random_rollouts, check_stale_gap=False
                )
                folder.log(row | folder.times())
                console.row(row)
        if config.log.export and not config.has_random_rollouts:
            export_senior(learner, config, folder, console.print)
    for rank in range(config.learner.ranks):
        peaks = {where: folder.rows[-1][f"memory/rank{rank}/{where}_gib"] for where in ("host", "gpu")}
        gpu = f"{peaks['gpu']:.2f} GiB" if peaks["gpu"] else "none"
        console.print(f"learner rank {rank}: peak memory: host {peaks['host']:.2f} GiB, GPU {gpu}")
    # The first update also allocates memory that later ones reuse.
    seconds = median(row["time/update_s"] for row in folder.rows[1:] or folder.rows)
    console.print(f"an update takes {seconds:.2f} s (median); metrics {folder.metrics}")


@contextmanager
def running_learner(inputs: LearnerInputs, console: TrainingConsole) -> Iterator[LearnerGroup]:
    """Start the learner on its placements, and end it after the block.

    A rank that dies ends the run: a restart would hide that it lacked memory.
    """
    config, plan, authors = inputs.config, inputs.plan, inputs.authors
    with ExitStack() as stack:
        if not plan.shares_cores:
            print_plan(plan, console.console)
        placements = stack.enter_context(
            reserve_placements(plan, authors, config.mode.cpu_cores, shares_memory=False, run_folder=inputs.folder.path)
        )
        console.print(f"run folder {inputs.folder.path}; senior {authors.senior}; rollouts {config.learner_only}")
        segment = stack.enter_context(claimed_file(segment_folder(), SEGMENT))  # no weight sync fills it
        usual = usual_start(LEARNER, on_gpus=plan.on_gpus)
        with status(f"Starting {describe_components(config, engines=False)}", usual, console.console):
            learner = stack.enter_context(start_learner(config, plan, authors, placements, segment, SHM))
        yield learner


def learner_step(inputs: LearnerInputs, learner: LearnerGroup, step: int, clock: PhaseTimer) -> dict[str, float]:
    """Update the senior with the groups of `step`, and return the step's line of metrics."""
    groups = inputs.groups_of(step)
    assign_advantages(groups, inputs.config.algo.advantage)
    with clock("update"):
        update_metrics = learner.update(groups, step)
    memory_metrics = {
        f"memory/rank{rank}/{where}_gib": nbytes / GIB
        for rank, peak in enumerate(learner.peak_memory())
        for where, nbytes in peak._asdict().items()
    }
    written = rollout_metrics(groups, len(inputs.authors.juniors))
    return {"step": step, "weights/version": step} | written | update_metrics | clock.metrics() | memory_metrics
