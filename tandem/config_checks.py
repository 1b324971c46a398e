"""What a configuration must satisfy beyond its types: choices, ranges, and combinations that make sense."""

from __future__ import annotations

import math
from collections.abc import Iterator
from importlib.util import find_spec
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from tandem.data_checks import SOURCES, data_problems
from tandem.objective import kl
from tandem.objective.advantage import ESTIMATORS
from tandem.objective.aggregation import AGGREGATIONS
from tandem.objective.mismatch import CORRECTIONS
from tandem.objective.policy_loss import POLICY_LOSSES
from tandem.schedules import SCHEDULES
from tandem.verify.extract import compile_pattern
from tandem.verify.pool import check_verifier
from tandem.weights import TRANSPORTS

if TYPE_CHECKING:
    from tandem.config import Config, EvalConfig

MIN_TEMPERATURE, MAX_TEMPERATURE = 0.01, 2.0
"""vLLM samples at no other temperatures but 0, which is greedy."""
DTYPES = ("float32", "bfloat16")
MEASURES = ("solo", "handoff", "drift", "legibility", "takeover")
CONTROLS = ("grpo", "kl_reg", "grpo_g16")
"""The arms of the paper's comparison in which the senior writes alone."""


def problems(config: Config) -> Iterator[str]:
    """What is wrong with `config`, a line each: the key, its value, the remedy."""

    def value(key: str) -> Any:
        return attrgetter(key)(config)

    for key, choices in CHOICES.items():
        if value(key) not in choices:
            yield f"{key}={value(key)}: choose {' or '.join(map(str, choices))}"
    for key, low, high in RANGES:
        if not low <= value(key) <= high:
            bounds = f"of at least {low:g}" if high == math.inf else f"from {low:g} to {high:g}"
            yield f"{key}={value(key)}: give a number {bounds}"
    for key in POSITIVE:
        if not value(key) > 0:
            yield f"{key}={value(key)}: give a number above 0"
    if not config.junior:
        yield "junior=[]: name at least one junior; [self] is the senior's base model"
    for key in ("junior_weights", "junior_dtypes"):
        if value(key) and len(value(key)) != len(config.junior):
            yield f"{key}={value(key)}: give one for each of the {len(config.junior)} juniors, or none"
    if not all(0 < weight < math.inf for weight in config.junior_weights):
        yield f"junior_weights={config.junior_weights}: give numbers above 0"
    if not set(config.junior_dtypes) <= set(DTYPES):
        yield f"junior_dtypes={config.junior_dtypes}: choose {' or '.join(DTYPES)}"
    if config.plan_only and config.mode.name == "cluster" and not config.cluster.gpus:
        yield "cluster.gpus=0: plan_only=true with mode=cluster plans for GPUs that need not be there; say how many"
    if config.cluster.gpus and not config.plan_only:
        yield f"cluster.gpus={config.cluster.gpus}: only a plan assumes GPUs; add plan_only=true, or leave it out"
    yield from _mode_problems(config)
    yield from data_problems(config.data)
    if config.junior_translation:
        yield from _translation_problems(config)
    if config.rollout.max_staleness and config.rollout.straggler_deadline_s:
        yield (
            f"rollout.straggler_deadline_s={config.rollout.straggler_deadline_s:g}: with rollout.max_staleness="
            f"{config.rollout.max_staleness} no step waits for stragglers, and what becomes too old is dropped; set it to 0"
        )
    for key in ("rollout.max_staleness", "algo.dynamic_sampling_rounds"):
        if value(key) and config.schedule.anneal != "constant":
            yield (
                f"schedule.anneal={config.schedule.anneal}: with {key}={value(key)} the groups of a step may be those of "
                "different places in the run, and one schedule must fit them all; choose constant"
            )
    if config.reward.overlong_buffer_tokens > config.rollout.sampling.max_tokens:
        yield (
            f"reward.overlong_buffer_tokens={config.reward.overlong_buffer_tokens}: a rollout has at most "
            f"rollout.sampling.max_tokens={config.rollout.sampling.max_tokens}; give fewer"
        )
    if config.algo.arm in CONTROLS and config.schedule.name != "solo":
        yield (
            f"schedule.name={config.schedule.name}: algo={config.algo.arm} is a control, in which the senior writes alone; "
            "leave the schedule out, or choose algo=tandem"
        )
    if config.algo.arm == "kl_reg" and not config.algo.kl_coef:
        yield "algo.kl_coef=0: algo=kl_reg is the control with a Kullback-Leibler term; give a number above 0, or algo=grpo"
    if config.algo.arm == "grpo_g16" and config.rollout.group_size != 16:
        yield (
            f"rollout.group_size={config.rollout.group_size}: algo=grpo_g16 is the control with groups of 16; leave it out, or "
            "choose algo=grpo"
        )
    if config.algo.mismatch != "none" and config.algo.old_logprobs != "learner":
        yield (
            f"algo.mismatch={config.algo.mismatch}: with algo.old_logprobs={config.algo.old_logprobs} the importance ratio is "
            "taken to the engine's log-probabilities already; choose algo.old_logprobs=learner"
        )
    yield from _evaluation_problems(config.eval)
    for key, every_token in (("top_p", 1.0), ("top_k", 0)):
        if (given := getattr(config.rollout.sampling, key)) != every_token:
            yield (
                f"rollout.sampling.{key}={given:g}: what may not be drawn would bias the importance ratios; "
                f"set it to {every_token:g}, which eval.sampling.{key} need not be"
            )
    if 0 < config.eval.sampling.temperature < MIN_TEMPERATURE:
        yield f"eval.sampling.temperature={config.eval.sampling.temperature}: give 0 (greedy) or at least {MIN_TEMPERATURE}"
    if config.schedule.prob_senior == 0 and config.schedule.name != "solo":
        yield "schedule.prob_senior=0: the senior would write nothing and learn nothing; give a number above 0"
    if config.schedule.prob_senior_end == 0 and config.schedule.anneal != "constant":
        yield "schedule.prob_senior_end=0: the senior would write nothing and learn nothing; give a number above 0"
    if config.learner.dtype == "bfloat16" and config.learner.zero_stage == 0:
        yield "learner.zero_stage=0: bfloat16 needs the float32 master weights that ZeRO keeps; choose learner.zero_stage=1"
    if config.learner.offload_optimizer and config.learner.zero_stage == 0:
        yield "learner.offload_optimizer=True: without ZeRO nothing is offloaded; choose learner.zero_stage=1, 2 or 3"
    if config.learner.offload_parameters and config.learner.zero_stage != 3:
        yield (
            f"learner.offload_parameters=True: learner.zero_stage={config.learner.zero_stage} keeps the parameters whole; "
            "choose learner.zero_stage=3"
        )
    if config.learner.transport in ("nccl", "ipc") and config.mode.device == "cpu":
        yield (
            f"learner.transport={config.learner.transport}: it needs GPUs, and mode.device=cpu uses none; choose auto or shm"
        )
    rollouts = config.rollout.prompts_per_step * config.rollout.group_size
    if config.algo.mini_batches >= 1 and rollouts % config.algo.mini_batches:
        yield (
            f"algo.mini_batches={config.algo.mini_batches}: the step's {rollouts} rollouts (rollout.prompts_per_step="
            f"{config.rollout.prompts_per_step} x rollout.group_size={config.rollout.group_size}) do not divide by it"
        )
    elif (mini_batch := rollouts // max(config.algo.mini_batches, 1)) < config.learner.ranks:
        yield (
            f"learner.ranks={config.learner.ranks}: a mini-batch holds only {mini_batch} rollouts; "
            "use fewer ranks or mini-batches, or more rollouts"
        )
    if config.log.wandb and not find_spec("wandb"):
        yield f"log.wandb={config.log.wandb}: the package wandb is not installed; `pip install wandb`, or leave it out"
    try:
        compile_pattern(config.judge.answer_pattern)
    except ValueError as error:
        yield str(error)
    if config.data.verifier and config.judge.memory_gib > 0:
        try:
            check_verifier(config.data.verifier, config.judge.memory_gib)
        except ValueError as error:
            yield str(error)


def _mode_problems(config: Config) -> Iterator[str]:
    """What does not go together of the ways to run a part of a run, or to look into one."""
    if config.rollouts_only and config.learner_only:
        yield f"learner_only={config.learner_only}: rollouts_only=true starts no learner; choose one of them"
    for key in ("rollouts_only", "learner_only"):
        if (value := getattr(config, key)) and config.resume:
            yield f"resume={config.resume}: {key}={value} writes no checkpoint to go on from; leave one of them out"
    if config.rollouts_only and config.rollout.max_staleness:
        yield (
            f"rollout.max_staleness={config.rollout.max_staleness}: with rollouts_only=true no weights change, and nothing "
            "becomes stale; set it to 0"
        )
    if config.learner_only and config.log.rollouts:
        yield f"log.rollouts=True: learner_only={config.learner_only} writes no rollouts; leave it out"
    if config.profile and config.profile_step > config.steps:
        yield f"profile_step={config.profile_step}: the run has steps={config.steps}; trace one of them"


def _evaluation_problems(config: EvalConfig) -> Iterator[str]:
    """What is wrong with the measures."""
    for name in config.measures:
        if name not in MEASURES:
            yield f"eval.measures={config.measures}: choose among {', '.join(MEASURES)}"
    if not config.pass_at or not all(1 <= k <= config.samples for k in config.pass_at):
        yield f"eval.pass_at={config.pass_at}: give numbers from 1 to eval.samples={config.samples}"
    if config.scored_samples > config.samples:
        yield f"eval.scored_samples={config.scored_samples}: there are only eval.samples={config.samples}; give fewer"
    if not config.prefixes or not all(0 <= fraction < 1 for fraction in config.prefixes):
        yield f"eval.prefixes={config.prefixes}: give fractions from 0 to below 1"
    if not config.handoff:
        yield "eval.handoff=[]: name at least one schedule, as in '[{name: step, alternates: true}]'"
    for index, schedule in enumerate(config.handoff):
        key = f"eval.handoff[{index}]"
        if schedule.name not in SCHEDULES or schedule.name == "solo":
            others = " or ".join(name for name in SCHEDULES if name != "solo")
            yield f"{key}.name={schedule.name}: choose {others}"
        if not 0 <= schedule.prob_senior <= 1:
            yield f"{key}.prob_senior={schedule.prob_senior}: give a number from 0 to 1"
        if schedule.max_gap_tokens < 1 or schedule.chunk_tokens < 1:
            yield f"{key}: max_gap_tokens={schedule.max_gap_tokens} and chunk_tokens={schedule.chunk_tokens} must be at least 1"
        if schedule.anneal != "constant":
            yield f"{key}.anneal={schedule.anneal}: an evaluation has no steps; choose constant"


def _translation_problems(config: Config) -> Iterator[str]:
    """What a junior with another tokenizer rules out."""
    schedule = SCHEDULES.get(config.schedule.name)  # an unknown name has its own complaint
    if schedule and schedule.boundary == "none" and config.schedule.name != "solo":
        yield (
            f"schedule.name={config.schedule.name}: it passes the pen inside words, and a junior with another tokenizer "
            "(junior_translation=true) writes whole words or steps; choose word, step or alternate"
        )
    for index, handoff in enumerate(config.eval.handoff):
        named = SCHEDULES.get(handoff.name)
        if schedule and named and "handoff" in config.eval.measures and named.boundary != schedule.boundary:
            yield (
                f"eval.handoff[{index}].name={handoff.name}: a junior with another tokenizer (junior_translation=true) is "
                f"started for schedule.name={config.schedule.name}; choose the same kind"
            )
    for key in ("junior_token_loss_weight", "lambda_junior"):
        if value := getattr(config.algo, key):
            yield (
                f"algo.{key}={value:g}: a translated token (junior_translation=true) has no log-probability of its own; "
                "set it to 0"
            )


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
    "algo.kl_estimator": tuple(kl.ESTIMATORS),
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
    ("model.recipe_seed", 0, math.inf),
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
    ("rollout.straggler_deadline_s", 0, math.inf),
    ("judge.workers", 1, math.inf),
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
]
POSITIVE = [
    "cluster.gpu_gib",
    "rollout.kv_cache_gib",
    "rollout.timeout_s",
    "judge.timeout_s",
    "judge.step_timeout_s",
    "judge.memory_gib",
    "learner.lr",
    "learner.eps",
    "learner.grad_clip",
    "learner.timeout_s",
    "guard.max_logprob_gap",
    "guard.publish_timeout_s",
    "guard.stall_s",
]
