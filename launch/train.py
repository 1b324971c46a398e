"""Tandem GRPO from end to end. `python launch/train.py [--multirun] [key=value ...]`; docs/configuration.md has the keys."""

from __future__ import annotations

from actors.reward import judge_groups
from launch.cluster.local_cluster import given_cluster, ray_cluster
from launch.entry import run
from launch.experiments.sweep import sweep
from launch.run.evaluation import due, evaluate
from launch.run.export import export_senior
from launch.run.inputs import read_inputs
from launch.run.learner_only import learn_only
from launch.run.plan_only import plan_only
from launch.run.profiling import step_clock
from launch.run.rollouts_only import write_only
from launch.run.training_run import RolloutRun, TrainingRun, started
from tandem import guards
from tandem.advantage import assign_advantages
from tandem.config.schema import Config
from tandem.dynamic_sampling import sample
from tandem.metrics import PhaseTimer, rollout_metrics
from tandem.rewards import assign_rewards
from tandem.rollout import Group
from tandem.schedules import schedule_at
from tandem.staleness import mean_staleness


def train(config: Config) -> None:
    """Trains the senior as `config` says, or does the part of that which it asks for; leaves everything in the run folder."""
    if config.plan_only:
        plan_only(config)
    elif config.rollouts_only:
        write_only(config, write_step)
    elif config.learner_only:
        learn_only(config)
    else:
        train_whole(config)


def train_whole(config: Config) -> None:
    """A run with all its parts."""
    with given_cluster():
        inputs = read_inputs(config)
        with inputs.folder as folder, ray_cluster(logs=folder.path / "logs"), started(inputs) as parts:
            learn(parts)
            senior = export_senior(parts.learner, config, folder, parts.console.print) if config.log.export else None
    accuracies = [row["solo/accuracy"] for row in folder.rows if "solo/accuracy" in row]
    change = " before, ".join(f"{accuracy:.3f}" for accuracy in (accuracies[0], accuracies[-1]))
    print_line = parts.console.print
    print_line(f"solo accuracy on {len(parts.held_out)} held-out problems: {change} after")
    print_line(f"metrics {folder.path / 'metrics.jsonl'}, samples {folder.path / 'samples.jsonl'}")
    print_line(f"report: python launch/report.py {folder.path}" + (f"; senior: {senior}" if senior else ""))


def learn(parts: TrainingRun) -> None:
    """All steps of a run, or those that are left of one that goes on."""
    if parts.done == 0:
        parts.log({"step": 0, "weights/version": 0} | evaluate(parts, 0))
    elif due(parts, parts.done) and (rows := parts.folder.rows):
        row = rows[-1]
        if row["step"] == parts.done and "solo/accuracy" not in row:  # what SIGTERM has cut short
            parts.log({"step": parts.done} | evaluate(parts, parts.done))
    with parts.writing, parts.stoppable():
        for step in range(parts.done + 1, parts.config.steps + 1):
            with step_clock(parts.config, step, parts.folder.trace, parts.profiled, parts.console.print) as clock:
                row = train_step(parts, step, clock)
            parts.reached(step, row)
            if due(parts, step):
                row |= evaluate(parts, step)
            parts.log(row)
            parts.save(step)


def train_step(parts: TrainingRun, step: int, clock: PhaseTimer) -> dict[str, float]:
    """One step of tandem GRPO; returns its metrics."""
    config, learner, rollouts = parts.config, parts.learner, parts.rollouts
    groups, written = write_step(parts, step, step - 1, clock)
    parts.stopping.hold()  # a step that has begun to learn is finished before SIGTERM ends the run
    if rollouts.sleeps:  # they wake when they receive weights
        with clock("sleep"):
            rollouts.sleep()
    with clock("update"):
        learned = learner.update(groups, step)
    if warning := guards.check_counted(learned):
        parts.console.print(f"step {step}: {warning}")
    guards.check_skipped(learned["grad/skipped_in_a_row"], config.guard.max_skipped_updates)
    if "logprob/gap_mean" in learned:
        guards.check_logprob_gap(learned["logprob/gap_mean"], config.guard.max_logprob_gap)
    with clock("publish"):
        rollouts.begin_weight_sync()
        reported = rollouts.receive_weights(learner.publish(version=step))
    guards.check_published(step, reported)
    parts.writing.advance(step)
    metrics = written | learned | clock.metrics() | parts.resources()
    # Engines that write ahead write all the time, not only while the learner waits for them.
    spent = metrics["time/step_s"] if config.rollout.max_staleness else clock.seconds["generate"]
    return {"step": step, "weights/version": step} | metrics | {"rollout/tokens_per_s": metrics["rollout/tokens"] / spent}


def write_step(parts: RolloutRun, step: int, version: int, clock: PhaseTimer) -> tuple[list[Group], dict[str, float]]:
    """The groups that a step learns from, written by engines of `version`, judged and with their advantages; and the metrics
    of all that were written for it."""
    config, algo, batch = parts.config, parts.config.algo, parts.config.rollout.prompts_per_step
    writing, console = parts.writing, parts.console
    schedule, dropped_before = schedule_at(config, step), writing.dropped

    def judged_groups(count: int) -> list[Group]:
        with clock("generate"), console.progress("writing", count) as done:
            groups = writing.take(count, done)
        with clock("judge"):
            judge_groups(parts.judge, groups, config.judge.step_timeout_s)
        assign_rewards(groups, config.reward, config.rollout.sampling.max_tokens)
        return groups

    taken, groups = sample(judged_groups, writing.reject, batch, algo.dynamic_sampling_rounds)
    guards.check_any_finished(taken, config.rollout.straggler_deadline_s)
    # Those that were still being written, or came too late, might have been in these groups' place.
    others = writing.dropped - dropped_before + 2 * config.rollout.max_staleness * batch
    guards.check_authorship(taken, schedule, parts.authors.boundaries, chosen_from=len(taken) + others)
    guards.check_finite_logprobs(taken)
    guards.check_weight_version(taken, version, config.rollout.max_staleness)
    if warning := guards.check_verdicts(taken):
        console.print(f"step {step}: {warning}")
    assign_advantages(groups, algo.advantage)
    parts.keep(step, groups)
    metrics = rollout_metrics(taken, len(parts.authors.juniors)) | {"tandem/prob_senior": schedule.prob_senior}
    metrics["rollout/groups_dropped"] = writing.dropped - dropped_before
    metrics["rollout/groups_refilled"] = max(0, len(taken) - batch)
    metrics["rollout/staleness_mean"] = mean_staleness(groups, version)
    return groups, metrics


if __name__ == "__main__":
    run(train, sweep=sweep)
