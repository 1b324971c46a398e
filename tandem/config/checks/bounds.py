"""Which values each setting may have by itself: choices, and the ranges of numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from operator import attrgetter
from typing import TYPE_CHECKING

from tandem.advantage import ESTIMATORS
from tandem.aggregation import AGGREGATIONS
from tandem.config.checks.data import SOURCES
from tandem.loss import CORRECTIONS, KL_ESTIMATORS, POLICY_LOSSES
from tandem.runtime.weights import TRANSPORTS
from tandem.schedules import SCHEDULES

if TYPE_CHECKING:
    from tandem.config.schema import Config

MIN_TEMPERATURE, MAX_TEMPERATURE = 0.01, 2.0
"""vLLM samples at no other temperatures but 0, which is greedy."""
DTYPES = ("float32", "bfloat16")
CONTROLS = ("grpo", "kl_reg", "grpo_g16")
"""The arms of the paper's comparison in which the senior writes alone."""
LONGEST_S = 2_000_000
"""The longest wait, 23 days: `poll` counts milliseconds in 31 bits."""

CHOICES = {
    "mode.name": ("auto", "local", "cluster"),
    "mode.device": ("auto", "cpu", "cuda"),
    "model.source": ("zoo", "smollm2", "hf"),
    "model.dtype": DTYPES,
    "model.word_boundary": ("word", "word_or_newline"),
    "data.source": SOURCES,
    "data.on_bad_line": ("stop", "skip"),
    "model.step_boundary": ("paragraph", "newline"),
    "schedule.name": tuple(SCHEDULES),
    "schedule.anneal": ("constant", "linear", "cosine"),
    "algo.advantage": tuple(ESTIMATORS),
    "algo.arm": ("tandem", *CONTROLS),
    "algo.policy_loss": tuple(POLICY_LOSSES),
    "algo.aggregation": tuple(AGGREGATIONS),
    "algo.kl_estimator": tuple(KL_ESTIMATORS),
    "algo.mismatch": ("none", *CORRECTIONS),
    "algo.old_logprobs": ("rollout", "learner"),
    "learner.dtype": DTYPES,
    "learner.lr_schedule": ("constant", "linear", "cosine"),
    "learner.transport": ("auto", *TRANSPORTS),
    "learner.zero_stage": (0, 1, 2, 3),
}
RANGES = [
    # numpy, which vLLM seeds with a thousand times this and more, takes 32 bits.
    ("seed", 0, 4_000_000),
    ("steps", 1, math.inf),
    ("profile_step", 1, math.inf),
    ("mode.cpu_cores", 0, math.inf),
    ("model.recipe_seed", 0, 4_000_000),
    ("data.held_out_fraction", 0, 0.99),
    ("data.held_out_problems", 0, math.inf),
    ("data.min_pass_rate", 0, 1),
    ("data.max_pass_rate", 0, 1),
    ("data.difficulty_rollouts", 1, math.inf),
    ("data.max_prompt_tokens", 1, math.inf),
    ("schedule.prob_senior", 0, 1),
    ("schedule.prob_senior_end", 0, 1),
    ("schedule.max_gap_tokens", 1, math.inf),
    ("schedule.chunk_tokens", 1, math.inf),
    ("rollout.prompts_per_step", 1, math.inf),
    # A group of one has no other reward to compare with: its advantage is always zero.
    ("rollout.group_size", 2, math.inf),
    ("rollout.replicas", 1, math.inf),
    ("rollout.sampling.max_tokens", 1, math.inf),
    ("rollout.max_in_flight", 1, math.inf),
    ("rollout.gpu_memory_fraction", 0, 0.95),
    ("rollout.junior_gpu_memory_fraction", 0, 0.95),
    ("rollout.senior_tensor_parallel", 1, math.inf),
    ("rollout.junior_tensor_parallel", 1, math.inf),
    ("cluster.gpus", 0, math.inf),
    ("cluster.gpus_per_node", 1, math.inf),
    ("rollout.max_staleness", 0, math.inf),
    ("rollout.straggler_deadline_s", 0, LONGEST_S),
    ("judge.workers", 1, math.inf),
    # A worker starts within a tenth; the greatest that the kernel's 64 bits hold is larger by far.
    ("judge.memory_gib", 0.1, 1_000_000),
    ("reward.correct", 0, math.inf),
    ("reward.format", 0, math.inf),
    ("reward.overlong_buffer_tokens", 0, math.inf),
    ("reward.overlong_penalty", 0, math.inf),
    ("algo.mini_batches", 1, math.inf),
    ("algo.clip_low", 0, 1),
    ("algo.clip_high", 0, math.inf),
    ("algo.junior_token_loss_weight", 0, math.inf),
    ("algo.lambda_junior", 0, math.inf),
    ("algo.kl_coef", 0, math.inf),
    ("algo.dynamic_sampling_rounds", 0, math.inf),
    ("algo.mismatch_low", 0, 1),
    ("algo.mismatch_high", 1, math.inf),
    ("learner.ranks", 1, math.inf),
    ("learner.warmup_steps", 0, math.inf),
    ("learner.min_lr_ratio", 0, 1),
    ("learner.weight_decay", 0, math.inf),
    ("learner.micro_batch_tokens", 1, math.inf),
    ("learner.logprob_chunk_tokens", 1, math.inf),
    ("learner.publish_bucket_mib", 1, math.inf),
    ("eval.problems", 1, math.inf),
    ("eval.every", 0, math.inf),
    ("rollout.sampling.temperature", MIN_TEMPERATURE, MAX_TEMPERATURE),
    ("rollout.sampling.top_p", 0.001, 1),
    ("rollout.sampling.top_k", 0, math.inf),
    ("eval.sampling.temperature", 0, MAX_TEMPERATURE),
    ("eval.sampling.max_tokens", 1, math.inf),
    ("eval.sampling.top_p", 0.001, 1),
    ("eval.sampling.top_k", 0, math.inf),
    ("eval.samples", 1, math.inf),
    ("eval.scored_samples", 1, math.inf),
    ("eval.confidence", 0.5, 0.999),
    ("eval.resamples", 100, math.inf),
    ("guard.max_skipped_updates", 0, math.inf),
    ("guard.max_restarts_per_hour", 0, math.inf),
    ("checkpoint.save_every", 0, math.inf),
    ("checkpoint.keep_last", 0, math.inf),
    ("log.samples_per_step", 0, math.inf),
    ("log.export_wait_s", 0, math.inf),
]
POSITIVE = [
    "cluster.gpu_gib",
    "rollout.kv_cache_gib",
    "learner.lr",
    "learner.eps",
    "learner.grad_clip",
    "guard.max_logprob_gap",
]
SECONDS = [
    "rollout.timeout_s",
    "judge.timeout_s",
    "judge.step_timeout_s",
    "learner.timeout_s",
    "guard.publish_timeout_s",
    "guard.stall_s",
    "checkpoint.on_signal_wait_s",
]
"""Waits: above 0, at most `LONGEST_S`."""


def bound_problems(config: Config) -> Iterator[str]:
    """Yield a line for each setting whose value is none of its choices or outside its range: the key, the value, the remedy."""
    for key, choices in CHOICES.items():
        if (value := attrgetter(key)(config)) not in choices:
            yield f"{key}={value}: choose {' or '.join(map(str, choices))}"
    for key, low, high in RANGES:
        # NaN compares false with everything; infinity is no number of anything.
        if not low <= (value := attrgetter(key)(config)) <= high or value == math.inf:
            bounds = f"of at least {low:g}" if high == math.inf else f"from {low:g} to {high:g}"
            yield f"{key}={value}: give a {'finite ' * (value == math.inf)}number {bounds}"
    for key in POSITIVE:
        if not 0 < (value := attrgetter(key)(config)) < math.inf:
            yield f"{key}={value}: give a {'finite ' * (value == math.inf)}number above 0"
    for key in SECONDS:
        if not 0 < (value := attrgetter(key)(config)) <= LONGEST_S:
            yield f"{key}={value}: give a number above 0, at most {LONGEST_S:,} seconds"
