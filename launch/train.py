"""Tandem GRPO from end to end. `python launch/train.py [key=value ...]`; the keys are in tandem/config.py and conf/."""

from __future__ import annotations

from contextlib import ExitStack
from copy import deepcopy
from functools import lru_cache
from typing import Any

import ray

from actors.ahead import WritesAhead
from actors.in_turn import WritesInTurn
from actors.reward import RewardActor, judge_groups
from actors.rollout import GroupTask
from actors.rollout_pool import RolloutPool
from launch.console import TrainingConsole
from launch.entry import run
from launch.local_cluster import gpu_share, ray_cluster
from launch.run_folder import RunFolder
from learner.group import LearnerGroup
from tandem import guards
from tandem.authors import Authors, load_authors
from tandem.config import Config
from tandem.data.problems import ProblemSet, load_problems
from tandem.data.prompts import encode
from tandem.dynamic_sampling import sample
from tandem.metrics import PhaseTimer, accuracy, rollout_metrics
from tandem.objective.advantage import assign_advantages
from tandem.objective.overlong import punish_overlong
from tandem.rollout import JUNIOR, Group, Prompt
from tandem.schedule import Schedule
from tandem.schedules import schedule_at
from tandem.staleness import Lookahead, mean_staleness

SOLO = Schedule(prob_senior=1.0)


def group_source(config: Config, pool: RolloutPool, authors: Authors, problems: ProblemSet) -> WritesAhead | WritesInTurn:
    """What writes the run's groups: ahead of the learner by as much staleness as it tolerates, or in turn with it."""
    batch = config.rollout.prompts_per_step
    # Copies, since tokenizers are not safe to share with the thread that writes ahead.
    tokenizer, junior_tokenizers = deepcopy((authors.tokenizer, authors.junior_tokenizers))

    @lru_cache(maxsize=4)
    def prompts(step: int) -> list[Prompt]:
        return encode(problems.train.batch(step - 1, batch), tokenizer, config.data, junior_tokenizers)[0]

    def task_at(position: int) -> GroupTask:
        step, index = position // batch + 1, position % batch
        schedule, name = schedule_at(config, step), f"step{step}/{index}"
        return pool.task(prompts(step)[index], config.rollout.group_size, schedule, config.rollout.sampling, name)

    max_tokens = config.rollout.sampling.max_tokens
    if config.rollout.max_staleness:
        return WritesAhead(pool, Lookahead(batch, config.rollout.max_staleness, steps=config.steps), task_at, max_tokens)
    return WritesInTurn(pool, task_at, max_tokens, deadline_s=config.rollout.straggler_deadline_s)


def train(config: Config) -> None:
    """Trains the senior as `config` says and leaves everything in the run folder."""
    gpus = gpu_share(config)
    folder, console = RunFolder(config), TrainingConsole(config.steps)
    authors = load_authors(config)
    problems = load_problems(config.data, config.seed, authors.tokenizer, authors.junior_tokenizers)
    held_out, _ = encode(problems.held_out(config.eval.problems), authors.tokenizer, config.data)
    algo, batch = config.algo, config.rollout.prompts_per_step
    problems.train.batch(0, batch)  # so that too few problems are an error before anything starts

    with ExitStack() as stack:
        stack.enter_context(folder)
        console.say(f"run folder {folder.path}; senior {authors.senior}; {problems.dropped} problems dropped as too long")
        stack.enter_context(ray_cluster(logs=folder.path / "logs"))
        console.say(f"starting the learner ({config.learner.ranks} ranks, ZeRO-{config.learner.zero_stage}) ...")
        learner = stack.enter_context(LearnerGroup(config, str(authors.senior), authors.sentinel, gpus_per_rank=gpus))
        console.say(f"starting the engines of {config.rollout.replicas} rollout actors ...")
        rollouts = stack.enter_context(RolloutPool.of_engines(config, authors, gpus_per_replica=gpus))
        judge: Any = ray.remote(num_cpus=0)(RewardActor).remote(config.judge)
        stack.callback(ray.kill, judge)
        frozen = rollouts.checksums(JUNIOR)
        console.say(f"{sum(rollouts.admitted)} rollouts may be in flight")
        writing = group_source(config, rollouts, authors, problems)
        stack.enter_context(console)

        def solo_accuracy(step: int) -> float:
            """The senior alone on the held-out problems."""
            with console.doing("evaluating", len(held_out)) as done:
                groups = rollouts.generate(held_out, 1, SOLO, config.eval.sampling, f"eval{step}", on_group=done)
            guards.check_weight_version(groups, expected=step)
            judge_groups(judge, groups, config.judge.step_timeout_s)
            if warning := guards.check_verdicts(groups):
                console.say(f"evaluation after step {step}: {warning}")
            return accuracy(groups)

        def train_step(step: int) -> dict[str, float]:
            """One step of tandem GRPO; returns its metrics."""
            clock, schedule = PhaseTimer(), schedule_at(config, step)
            dropped_before = writing.dropped

            def judged_groups(count: int) -> list[Group]:
                with clock("generate"), console.doing("writing", count) as done:
                    groups = writing.take(count, done)
                with clock("judge"):
                    judge_groups(judge, groups, config.judge.step_timeout_s)
                punish_overlong(groups, config.rollout.sampling.max_tokens, algo.overlong_buffer_tokens, algo.overlong_penalty)
                return groups

            taken, groups = sample(judged_groups, writing.reject, batch, algo.dynamic_sampling_rounds)
            guards.check_any_finished(taken, config.rollout.straggler_deadline_s)
            guards.check_authorship(taken, schedule, authors.boundaries, config.guard.senior_fraction_tolerance)
            guards.check_weight_version(taken, step - 1, config.rollout.max_staleness)
            if warning := guards.check_verdicts(taken):
                console.say(f"step {step}: {warning}")
            assign_advantages(groups, algo.advantage)
            with clock("update"):
                learned = learner.update(groups, step)
            guards.check_skipped(learned["grad/skipped_in_a_row"], config.guard.max_skipped_updates)
            if "logprob/gap_mean" in learned:
                guards.check_logprob_gap(learned["logprob/gap_mean"], config.guard.max_logprob_gap)
            with clock("publish"):
                reported = rollouts.receive_weights(learner.publish(version=step))
            guards.check_published(step, reported)
            writing.advance(step)
            folder.keep_samples(step, groups, authors.tokenizer)
            metrics = rollout_metrics(taken, len(authors.juniors)) | learned | clock.metrics()
            metrics["rollout/groups_dropped"] = writing.dropped - dropped_before
            metrics["rollout/groups_refilled"] = max(0, len(taken) - batch)
            metrics["rollout/staleness_mean"] = mean_staleness(groups, step - 1)
            # Engines that write ahead write all the time, not only while the learner waits for them.
            spent = metrics["time/step_s"] if config.rollout.max_staleness else clock.seconds["generate"]
            metrics["rollout/tokens_per_s"] = metrics["rollout/tokens"] / spent
            return {"step": step, "weights/version": step, "tandem/prob_senior": schedule.prob_senior} | metrics

        before = solo_accuracy(0)
        row: dict[str, float] = {"step": 0, "weights/version": 0, "solo/accuracy": before}
        folder.log(row)
        console.row(row)
        stack.enter_context(writing)
        for step in range(1, config.steps + 1):
            row = train_step(step)
            if step == config.steps or (config.eval.every and step % config.eval.every == 0):
                row["solo/accuracy"] = solo_accuracy(step)
            folder.log(row)
            console.row(row)

        guards.check_unchanged(frozen, rollouts.checksums(JUNIOR))
        if config.log.export:
            learner.export(folder.senior)
    console.say(f"solo accuracy on {len(held_out)} held-out problems: {before:.3f} before, {row['solo/accuracy']:.3f} after")
    console.say(f"metrics {folder.path / 'metrics.jsonl'}, samples {folder.path / 'samples.jsonl'}")
    console.say(f"curves: tensorboard --logdir {folder.path}" + (f"; senior: {folder.senior}" if config.log.export else ""))


if __name__ == "__main__":
    run(train)
