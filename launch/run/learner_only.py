"""A run without engines: the learner learns from saved rollouts, or from random ones to see what memory it takes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from statistics import median

from launch.cluster.local_cluster import given_cluster, ray_cluster
from launch.cluster.placements import reserve_placements
from launch.cluster.plan import print_plan, run_plan
from launch.run.console import TrainingConsole
from launch.run.export import export_senior
from launch.run.given_groups import GroupsOf, fake_groups, saved_groups
from launch.run.profiling import step_clock
from launch.storage.run_folder import RunFolder
from learner.group import LearnerGroup
from tandem import guards
from tandem.advantage import assign_advantages
from tandem.authors import Authors, load_authors
from tandem.config.schema import FAKE, FAKE_LONGEST, Config
from tandem.metrics import PhaseTimer, rollout_metrics
from tandem.plan.memory import GIB
from tandem.plan.run_plan import RunPlan, planned


@dataclass(frozen=True)
class LearnerInputs:
    """What a run without engines begins with."""

    config: Config
    plan: RunPlan
    authors: Authors
    folder: RunFolder
    groups_of: GroupsOf

    @property
    def fake(self) -> bool:
        """Whether the groups are random."""
        return self.config.learner_only in (FAKE, FAKE_LONGEST)


def learn_only(config: Config) -> None:
    """Learns as `config` says, without engines. Raises `ConfigError` for what cannot be used."""
    with given_cluster():
        inputs = read_learner_inputs(config)
        with inputs.folder as folder, ray_cluster(logs=folder.path / "logs"):
            learn(inputs)


def read_learner_inputs(config: Config) -> LearnerInputs:
    """What a run as `config` says begins with. Raises `ConfigError` for what cannot be used."""
    plan = run_plan(config)
    config = planned(config, plan)
    authors, folder = load_authors(config), RunFolder(config)
    fake = config.learner_only in (FAKE, FAKE_LONGEST)
    groups_of = fake_groups(config, authors) if fake else saved_groups(config, authors)
    return LearnerInputs(config, plan, authors, folder, groups_of)


def learn(inputs: LearnerInputs) -> None:
    """All steps, in a Ray cluster and with an open run folder."""
    config, folder, console = inputs.config, inputs.folder, TrainingConsole(inputs.config.steps)
    with started_learner(inputs, console) as learner:
        with console:
            for step in range(1, config.steps + 1):
                with step_clock(config, step, folder.trace, [learner], console.print) as clock:
                    row = learn_step(inputs, learner, step, clock)
                if warning := guards.check_counted(row):
                    console.print(f"step {step}: {warning}")
                folder.log(row)
                console.row(row)
        if config.log.export and not inputs.fake:
            export_senior(learner, config, folder, console.print)
    for rank in range(config.learner.ranks):
        peaks = {where: folder.rows[-1][f"memory/rank{rank}/{where}_gib"] for where in ("host", "gpu")}
        console.print(f"learner rank {rank}: at most {peaks['host']:.2f} GiB of host memory, {peaks['gpu']:.2f} GiB of a GPU's")
    # The first step also allocates what the others find.
    seconds = median(row["time/update_s"] for row in folder.rows[1:] or folder.rows)
    console.print(f"an update takes {seconds:.2f} s (median); metrics {folder.path / 'metrics.jsonl'}")


@contextmanager
def started_learner(inputs: LearnerInputs, console: TrainingConsole) -> Iterator[LearnerGroup]:
    """Starts the learner on its placements. A rank that dies ends the run: nothing is to hide what memory it lacked."""
    config, plan, authors = inputs.config, inputs.plan, inputs.authors
    with ExitStack() as stack:
        if plan.mode == "cluster" or plan.on_gpus:
            print_plan(plan, console.console)
        placements = stack.enter_context(reserve_placements(plan, authors, config.mode.cpu_cores, shares_memory=False))
        console.print(f"run folder {inputs.folder.path}; senior {authors.senior}; rollouts {config.learner_only}")
        console.print(f"starting the learner ({config.learner.ranks} ranks, ZeRO-{config.learner.zero_stage}) ...")
        yield stack.enter_context(
            LearnerGroup(config, str(authors.senior), gpus_per_rank=plan.gpus_per_rank, placements=placements.ranks)
        )


def learn_step(inputs: LearnerInputs, learner: LearnerGroup, step: int, clock: PhaseTimer) -> dict[str, float]:
    """One update; returns its metrics."""
    config, groups = inputs.config, inputs.groups_of(step)
    assign_advantages(groups, config.algo.advantage)
    with clock("update"):
        learned = learner.update(groups, step)
    guards.check_skipped(learned["grad/skipped_in_a_row"], config.guard.max_skipped_updates)
    if "logprob/gap_mean" in learned and not inputs.fake:
        guards.check_logprob_gap(learned["logprob/gap_mean"], config.guard.max_logprob_gap)
    memory = {
        f"memory/rank{rank}/{where}_gib": nbytes / GIB
        for rank, peak in enumerate(learner.peak_memory())
        for where, nbytes in peak._asdict().items()
    }
    written = rollout_metrics(groups, len(inputs.authors.juniors))
    return {"step": step, "weights/version": step} | written | learned | clock.metrics() | memory
