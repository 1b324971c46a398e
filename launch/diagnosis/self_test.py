"""A short run: two engines write a few rollouts, two ZeRO ranks update the senior, and a weight sync follows."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np

from actors.rollout_pool import RolloutPool
from launch.cluster.local_cluster import ray_cluster
from launch.cluster.locks import SEGMENT, claimed_file
from launch.packages import has_cpu_engines
from learner.group import LearnerGroup
from tandem import guards
from tandem.advantage import assign_advantages
from tandem.authors import load_authors
from tandem.config.learner import LearnerConfig
from tandem.config.schema import Config
from tandem.data.problems import load_problems
from tandem.data.prompts import encode
from tandem.runtime.restarts import RestartBudget
from tandem.runtime.segment import segment_folder
from tandem.schedule import schedule_at

PROMPTS, GROUP = 2, 4
GPU_FRACTION = 0.2
"""The share of a GPU's memory that each engine takes beside the learner."""


def self_test(config: Config, logs: Path) -> str:
    """Run one step with the offline base, on the CPU if vLLM's build has CPU engines, else on a GPU; return a summary.

    Raises the error of any engine, rank or guard; `logs` then holds Ray's and the engines' logs.
    """
    share = 0.0 if has_cpu_engines() else 0.5
    config = _small(config, on_gpu=bool(share))
    authors = load_authors(config)
    problems = load_problems(config.data, config.seed, authors.tokenizer).train.batch(0, PROMPTS)
    prompts, _ = encode(problems, authors.tokenizer, config.data)
    with ExitStack() as stack:
        stack.enter_context(ray_cluster(logs))
        segment = stack.enter_context(claimed_file(segment_folder(), SEGMENT))
        starting = stack.enter_context(ThreadPoolExecutor())
        engines = starting.submit(
            RolloutPool.of_engines, config, authors, RestartBudget.of(config.guard), gpus_per_replica=share
        )
        ranks = starting.submit(LearnerGroup, config, str(authors.senior), segment, gpus_per_rank=share)
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
    ranks_used = "two ranks" if config.learner.ranks == 2 else "one rank"
    return f"{tokens} tokens by two authors, one ZeRO-3 step on {ranks_used}, gap {gap:.1e} nats, published"


def _small(config: Config, *, on_gpu: bool) -> Config:
    """Return `config` reduced to a short run on the CPU, or on one GPU, which no two ranks can share."""
    learner = LearnerConfig(ranks=1 if on_gpu else 2, zero_stage=3, timeout_s=120)
    rollout = replace(
        config.rollout,
        prompts_per_step=PROMPTS,
        group_size=GROUP,
        replicas=1,
        max_in_flight=PROMPTS * GROUP,
        gpu_memory_fraction=GPU_FRACTION,
        junior_gpu_memory_fraction=GPU_FRACTION,
        enforce_eager=True,
    )
    return replace(config, learner=learner, rollout=rollout, mode=replace(config.mode, device="cuda" if on_gpu else "cpu"))
