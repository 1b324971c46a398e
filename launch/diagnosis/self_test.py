"""A short run: two engines write a few rollouts, two ZeRO ranks update the senior, and a weight sync follows."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np

from actors.rollout_pool import RolloutPool
from launch.cluster.local_cluster import ray_cluster
from learner.group import LearnerGroup
from tandem import guards
from tandem.advantage import assign_advantages
from tandem.authors import load_authors
from tandem.config.learner import LearnerConfig
from tandem.config.schema import Config
from tandem.data.problems import load_problems
from tandem.data.prompts import encode
from tandem.schedule import schedule_at

PROMPTS, GROUP = 2, 4


def self_test(config: Config, logs: Path) -> str:
    """Run one step on the CPU with the offline base; return a summary.

    Raises the error of any engine, rank or guard; `logs` then holds Ray's and the engines' logs.
    """
    config = _small(config)
    authors = load_authors(config)
    problems = load_problems(config.data, config.seed, authors.tokenizer).train.batch(0, PROMPTS)
    prompts, _ = encode(problems, authors.tokenizer, config.data)
    with ExitStack() as stack:
        stack.enter_context(ray_cluster(logs))
        starting = stack.enter_context(ThreadPoolExecutor())
        engines = starting.submit(RolloutPool.of_engines, config, authors)
        ranks = starting.submit(LearnerGroup, config, str(authors.senior))
        rollouts, learner = stack.enter_context(engines.result()), stack.enter_context(ranks.result())
        learner.connect(rollouts.actors)
        groups = rollouts.generate(prompts, GROUP, schedule_at(config, 1), config.rollout.sampling, "step1")
        guards.check_authorship(groups, authors.boundaries)
        for group in groups:  # nobody judges: some rewards must differ
            group.rewards = np.arange(GROUP, dtype=np.float32) % 2
        assign_advantages(groups, config.algo.advantage)
        update_metrics = learner.update(groups, step=1)
        guards.check_logprob_gap(update_metrics["logprob/gap_mean"], config.guard.max_logprob_gap)
        guards.check_published(1, rollouts.finish_weight_sync(learner.publish(version=1)))
    tokens = sum(len(rollout.token_ids) for group in groups for rollout in group.rollouts)
    gap = update_metrics["logprob/gap_mean"]
    return f"{tokens} tokens by two authors, one ZeRO-3 step on two ranks, gap {gap:.1e} nats, published"


def _small(config: Config) -> Config:
    """Return `config` reduced to a short run on the CPU."""
    learner = LearnerConfig(ranks=2, zero_stage=3, timeout_s=120)
    rollout = replace(config.rollout, prompts_per_step=PROMPTS, group_size=GROUP, replicas=1, max_in_flight=PROMPTS * GROUP)
    return replace(config, learner=learner, rollout=rollout, mode=replace(config.mode, device="cpu"))
