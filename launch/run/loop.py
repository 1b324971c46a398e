"""The training loop: senior and junior write rollouts together, and the senior learns from the tokens that it wrote (GRPO).

    generate -> judge -> reward -> filter -> check -> advantages -> update -> weight sync -> log

| component    | what it does                                       | what it waits for |
| ------------ | -------------------------------------------------- | ----------------- |
| group source | says which groups may be written now               | weights as fresh as `rollout.max_staleness` demands |
| replica      | writes the rollouts of a group, token by token     | a group; room in the senior's and the junior's engine |
| judge        | grades the rollouts' texts in worker processes     | finished groups |
| driver       | runs this loop: rewards, filter, checks, advantages | verdicts |
| learner      | updates the senior's weights on all ranks          | a step's groups; sleeping engines, if they share its GPU |
| weight sync  | copies the weights from the learner to the engines | the update |
| canary       | compares engines and learner by a few fixed texts  | weight sync |
| evaluator    | measures the senior on held-out problems           | weight sync |
| checkpoint   | saves the learner and the position in the data     | the step's line in metrics.jsonl |

With `rollout.max_staleness=0` the replicas write only while the driver waits for groups. Above 0 a thread keeps them writing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from statistics import fmean
from time import perf_counter

from launch.run.evaluation import evaluate_at_start, evaluate_senior, evaluation_due
from launch.run.selection import keep_if_best
from launch.run.stopping import stop_early
from launch.run.training_run import RolloutRun, TrainingRun
from tandem import guards
from tandem.advantage import assign_advantages
from tandem.config.run import GuardConfig
from tandem.dynamic_sampling import count_missing, select
from tandem.metrics import PhaseTimer, rollout_metrics
from tandem.rewards import assign_rewards
from tandem.rollout import Group
from tandem.staleness import mean_staleness


def train(run: TrainingRun) -> None:
    """Take all steps of `run`; a resumed run takes those after its checkpoint."""
    config = run.config
    run.canary.start()
    evaluate_at_start(run)
    with run.group_source, run.handle_termination():
        for step in range(run.resumed_step + 1, config.steps + 1):
            if stop_early(run, step - 1):
                break
            with run.step_clock(step) as clock:
                groups, metrics = collect_groups(run, step, step - 1, clock)
                metrics |= update_senior(run, groups, step, clock)
                row = run.step_row(step, step, metrics, clock)
            run.finish_update(step, row)
            if evaluation_due(config, step):
                row |= evaluate_senior(run, step)
            run.log(row)
            keep_if_best(run, step)
            run.save_if_due(step)


def collect_groups(run: RolloutRun, step: int, version: int, clock: PhaseTimer) -> tuple[list[Group], dict[str, float]]:
    """Return the groups that `step` learns from, with their advantages, and the metrics of the step's rollouts.

    `version` is the version of the engines' weights. Raises `GuardError` when the groups fail a check.
    """
    config, algo, source = run.config, run.config.algo, run.group_source
    groups_per_step, dropped_before = config.rollout.prompts_per_step, source.dropped

    # Generate, judge, reward. Dynamic sampling (DAPO) repeats this for other groups in place of those that teach nothing.
    written: list[Group] = []
    missing = groups_per_step
    for sampling_round in range(1 + algo.dynamic_sampling_rounds):
        if sampling_round > 0:
            source.reject(missing)
        with clock("generate"), run.console.progress("writing", missing) as advance:
            groups = source.take(step, missing, advance)
        with clock("judge"):
            run.judge.judge_groups(groups, config.judge.step_timeout_s)  # most have been judged while others were written
        assign_rewards(groups, config.reward, config.rollout.sampling.max_tokens)
        written += groups
        missing = count_missing(written, groups_per_step)
        if not missing:
            break

    # Filter.
    selected = select(written, groups_per_step)

    # Check. Groups that were dropped, or are still being written, could have been among these.
    guards.check_any_finished(written, config.rollout.straggler_deadline_s)
    dropped = source.dropped - dropped_before
    others = dropped + 2 * config.rollout.max_staleness * groups_per_step
    guards.check_authorship(written, run.authors.boundaries, chosen_from=len(written) + others)
    guards.check_finite_logprobs(written)
    guards.check_weight_version(written, version, config.rollout.max_staleness)
    if warning := guards.check_verdicts(written):
        run.console.print(f"step {step}: {warning}")

    # Advantages.
    assign_advantages(selected, algo.advantage)
    run.save_samples(step, selected)
    metrics = rollout_metrics(written, len(run.authors.juniors)) | {
        "tandem/prob_senior": fmean(group.schedule.prob_senior for group in written),
        "rollout/groups_dropped": dropped,
        "rollout/groups_refilled": max(0, len(written) - groups_per_step),
        "rollout/staleness_mean": mean_staleness(selected, version),
    }
    return selected, metrics


def update_senior(run: TrainingRun, groups: list[Group], step: int, clock: PhaseTimer) -> dict[str, float]:
    """Update the senior with `groups`, send its weights to the engines as version `step`, and return the update's metrics.

    Raises `GuardError` when the update or the weight sync fails a check.
    """
    config, pool, learner, source = run.config, run.pool, run.learner, run.group_source
    started_s, writing_s = perf_counter(), source.writing_s
    run.termination.defer()  # until learner and engines have the same version
    if pool.sleeps:
        with clock("sleep"):
            pool.sleep()
    with clock("update"):
        update_metrics = learner.update(groups, step)
    check_update(update_metrics, step, config.guard, run.console.print)
    with clock("canary"):
        run.canary.read_learner()  # while engines that share its GPU sleep
    with clock("publish"):
        pool.begin_weight_sync()
        published = learner.publish(version=step)
        reported = pool.finish_weight_sync(published)  # engines that sleep wake up
    guards.check_published(step, reported)
    update_metrics["weights/published_mib"] = published.layout.nbytes / 2**20
    with clock("canary"):
        update_metrics |= run.canary.check()
    if config.rollout.max_staleness:
        overlap_s = source.writing_s - writing_s
        update_metrics["rollout/overlap_fraction"] = overlap_s / (perf_counter() - started_s)
    source.advance(step)
    return update_metrics


def check_update(
    update_metrics: Mapping[str, float],
    step: int,
    limits: GuardConfig,
    print_line: Callable[[str], None],
    *,
    check_gap: bool = True,
    check_stale_gap: bool = True,
) -> None:
    """Check an update by its metrics; print a warning where no token of the senior counted. Raises `GuardError`.

    `check_gap`: whether the rollouts' log-probabilities must agree with the learner's; `check_stale_gap`: also where older
    weights wrote them.
    """
    if warning := guards.check_counted(update_metrics):
        print_line(f"step {step}: {warning}")
    guards.check_skipped(update_metrics["grad/skipped_in_a_row"], limits.max_skipped_updates)
    if check_gap and "logprob/gap_mean" in update_metrics:
        guards.check_logprob_gap(update_metrics["logprob/gap_mean"], limits.max_logprob_gap)
    if check_stale_gap and "logprob/stale_gap_mean" in update_metrics:
        guards.check_logprob_gap(update_metrics["logprob/stale_gap_mean"], limits.max_stale_logprob_gap, stale=True)
