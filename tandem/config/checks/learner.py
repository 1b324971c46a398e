"""Check the objective and the learner."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tandem.config.algo import CONTROLS

if TYPE_CHECKING:
    from tandem.config.learner import LearnerConfig
    from tandem.config.schema import Config

DEFAULT_WARMUP_STEPS = 2
"""The default of `learner.warmup_steps`, which a run of a single step may have too."""
KL_REFERENCES = {"kl_reg": "base", "kl_junior": "junior"}
"""The model toward which an arm draws the senior."""


def learner_errors(config: Config) -> Iterator[str]:
    """Yield the errors in the settings of the objective and the learner."""
    yield from _arm_errors(config)
    yield from _ratio_errors(config)
    yield from _batch_errors(config)
    yield from _optimizer_errors(config.learner, config.steps)
    yield from _memory_errors(config.learner)
    yield from _engine_errors(config)


def _arm_errors(config: Config) -> Iterator[str]:
    """Yield the settings that contradict the arm of the paper's comparison."""
    algo = config.algo
    if algo.arm in CONTROLS and config.schedule.name != "solo":
        yield (
            f"schedule.name={config.schedule.name}: algo={algo.arm} is a control, in which the senior writes alone; "
            "leave the schedule out, or choose algo=tandem"
        )
    if algo.arm in ("kl_reg", "kl_junior") and not algo.kl_coef:
        yield f"algo.kl_coef=0: algo={algo.arm} is a control with a Kullback-Leibler term; give a number above 0, or algo=grpo"
    if algo.arm in KL_REFERENCES and algo.kl_reference != KL_REFERENCES[algo.arm]:
        yield (
            f"algo.kl_reference={algo.kl_reference}: algo={algo.arm} draws the senior toward its {KL_REFERENCES[algo.arm]}; "
            "leave algo.kl_reference out, or choose the other one of algo=kl_reg and algo=kl_junior"
        )
    if algo.arm == "grpo_g16" and config.rollout.group_size != 16:
        yield (
            f"rollout.group_size={config.rollout.group_size}: algo=grpo_g16 is the control with groups of 16; leave it out, or "
            "choose algo=grpo"
        )


def _ratio_errors(config: Config) -> Iterator[str]:
    """Yield the errors in the settings of the importance ratio."""
    algo, staleness = config.algo, config.rollout.max_staleness
    if 0 < algo.dual_clip <= 1:
        yield f"algo.dual_clip={algo.dual_clip}: it would limit ratios of tokens that have not changed; give 0 or more than 1"
    if algo.mismatch != "none" and algo.old_logprobs != "learner":
        yield (
            f"algo.mismatch={algo.mismatch}: with algo.old_logprobs={algo.old_logprobs} the importance ratio is "
            "taken to the engine's log-probabilities already; choose algo.old_logprobs=learner"
        )
    if algo.old_logprobs == "learner" and staleness and algo.mismatch == "none":
        yield (
            f"algo.old_logprobs=learner: with rollout.max_staleness={staleness} older weights wrote some of the tokens, and "
            "the ratio would ignore that; choose algo.old_logprobs=rollout, or a correction such as algo.mismatch=tis"
        )


def _batch_errors(config: Config) -> Iterator[str]:
    rollout, mini_batches, ranks = config.rollout, config.algo.mini_batches, config.learner.ranks
    sequence_ranks = max(1, config.learner.sequence_parallel)
    if ranks % sequence_ranks:
        yield f"learner.sequence_parallel={sequence_ranks}: learner.ranks={ranks} does not divide by it; change one of them"
    rollouts = rollout.prompts_per_step * rollout.group_size
    if mini_batches >= 1 and rollouts % mini_batches:
        yield (
            f"algo.mini_batches={mini_batches}: the step's {rollouts} rollouts (rollout.prompts_per_step="
            f"{rollout.prompts_per_step} x rollout.group_size={rollout.group_size}) are not divisible by it; choose a divisor"
        )
    elif config.algo.mini_batch_order == "prompts" and mini_batches >= 1 and rollout.prompts_per_step % mini_batches:
        yield (
            f"algo.mini_batches={mini_batches}: with algo.mini_batch_order=prompts, rollout.prompts_per_step="
            f"{rollout.prompts_per_step} must be divisible by it; choose algo.mini_batch_order=shuffled, or another number"
        )
    elif (mini_batch := rollouts // max(mini_batches, 1)) < ranks // sequence_ranks:
        yield (
            f"learner.ranks={ranks}: a mini-batch holds only {mini_batch} rollouts; "
            f"use fewer ranks or mini-batches, or more rollouts (algo.mini_batches={mini_batches}, rollout.prompts_per_step="
            f"{rollout.prompts_per_step}, rollout.group_size={rollout.group_size})"
        )


def _optimizer_errors(learner: LearnerConfig, steps: int) -> Iterator[str]:
    betas = list(learner.betas)
    if len(betas) != 2:
        yield f"learner.betas={betas}: give two numbers, such as [0.9,0.98]"
    if learner.warmup_steps > max(steps, DEFAULT_WARMUP_STEPS):
        yield (
            f"learner.warmup_steps={learner.warmup_steps}: the run has steps={steps}, and the learning rate would never reach "
            "learner.lr; give fewer"
        )


def _memory_errors(learner: LearnerConfig) -> Iterator[str]:
    if learner.parameter_dtype == "bfloat16" and learner.zero_stage == 0:
        yield "learner.zero_stage=0: bfloat16 needs the float32 master weights that ZeRO keeps; choose learner.zero_stage=1"
    if learner.offload_optimizer and learner.zero_stage == 0:
        yield "learner.offload_optimizer=True: without ZeRO nothing is offloaded; choose learner.zero_stage=1, 2 or 3"
    if learner.offload_parameters and learner.zero_stage != 3:
        yield (
            f"learner.offload_parameters=True: learner.zero_stage={learner.zero_stage} does not partition the parameters; "
            "choose learner.zero_stage=3"
        )


def _engine_errors(config: Config) -> Iterator[str]:
    """Yield the settings of the learner that contradict those of the engines."""
    both = not (config.rollouts_only or config.learner_only)
    if both and config.learner.dtype == "bfloat16" and config.model.dtype == "float32":
        yield (
            "learner.dtype=bfloat16: the engines would compute in model.dtype=float32 with weights that the learner rounds to "
            "bfloat16, in twice the memory, and sample from another model than the one that learns; choose "
            "model.dtype=bfloat16, or learner.dtype=float32"
        )
    if config.learner.transport in ("nccl", "ipc") and config.mode.device == "cpu":
        yield (
            f"learner.transport={config.learner.transport}: it needs GPUs, and mode.device=cpu uses none; choose auto or shm"
        )
    elif config.learner.transport in ("nccl", "ipc") and config.learner.lora.sent_alone:
        yield (
            f"learner.transport={config.learner.transport}: with learner.lora.sync=adapter the engines read the adapter from "
            "shared memory; choose auto or shm, or learner.lora.sync=merged"
        )
