"""DeepSpeed: the process group, and the ZeRO engine for a policy."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import deepspeed
import torch
from deepspeed.runtime.engine import DeepSpeedEngine
from deepspeed.runtime.zero.stage_1_and_2 import DeepSpeedZeroOptimizer
from transformers.integrations.deepspeed import set_hf_deepspeed_config, unset_hf_deepspeed_config

from learner.policy import Policy
from tandem.config.learner import LearnerConfig
from tandem.optim import parameter_groups
from tandem.plan.memory import reduce_bucket_size

PERSISTENCE_THRESHOLD = 100_000
"""Under ZeRO-3, parameters of fewer elements stay whole on every rank."""


def join_process_group(device: str, timeout_s: float) -> None:
    """Join the process group that the environment describes (RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT).

    NCCL on GPUs, gloo on CPUs. A collective that waits longer than `timeout_s` fails.
    """
    logging.getLogger("DeepSpeed").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", category=FutureWarning, module="torch.distributed")  # DeepSpeed's calls, not ours
    # DeepSpeed would otherwise compile a shared-memory collective that only its inference uses.
    deepspeed.ops.__compatible_ops__ = {}
    deepspeed.init_distributed(
        dist_backend="nccl" if device == "cuda" else "gloo",
        timeout=timedelta(seconds=timeout_s),
        auto_mpi_discovery=False,
        verbose=False,
    )


def deepspeed_config(config: LearnerConfig, *, load_universal: bool = False, adapter: int = 0) -> dict[str, Any]:
    """Return DeepSpeed's configuration for `config`; `adapter` is the number of parameters of an adapter that learns alone."""
    zero: dict[str, Any] = {
        "stage": config.zero_stage,
        # In stages 1 and 2 a bucket reaches all ranks either way; without this it is reduced in place, two copies fewer.
        "reduce_scatter": config.zero_stage == 3,
        "reduce_bucket_size": reduce_bucket_size(adapter),
    } | placed_parameters(config)
    if config.offload_optimizer:
        zero["offload_optimizer"] = {"device": "cpu"}
    return {
        # The update sets accumulation boundaries itself, since their number varies from step to step.
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,
        "gradient_clipping": config.grad_clip,
        "bf16": {"enabled": config.parameter_dtype == "bfloat16"},
        "data_types": {"grad_accum_dtype": "fp32"},
        "zero_optimization": zero,
        "zero_force_ds_cpu_optimizer": False,  # torch's fused AdamW needs no compiler
        "steps_per_print": None,
        "checkpoint": {"load_universal": load_universal},
    }


def placed_parameters(config: LearnerConfig) -> dict[str, Any]:
    """Return the part of DeepSpeed's ZeRO configuration that says which parameters stay whole, or in CPU memory."""
    offloaded = {"offload_param": {"device": "cpu"}} if config.offload_parameters else {}
    return {"stage3_param_persistence_threshold": PERSISTENCE_THRESHOLD} | offloaded


@contextmanager
def partitioned_loading(config: LearnerConfig) -> Iterator[None]:
    """Under stage 3, partition every module of a model that is loaded in the block as soon as it is created.

    Rank 0 then reads the weights of one module at a time, so that no rank ever holds the whole model.
    """
    if config.zero_stage == 3:
        # The model's dtype, which an adapter that learns in float32 does not have.
        dtype = {"bf16": {"enabled": config.dtype == "bfloat16"}}
        settings = _Zero3Settings(deepspeed_config(config) | dtype)
        set_hf_deepspeed_config(settings)  # transformers keeps only a weak reference
    try:
        yield
    finally:
        unset_hf_deepspeed_config()


@dataclass(eq=False)
class _Zero3Settings:
    """What transformers asks about DeepSpeed while it loads a model."""

    config: dict[str, Any]

    def is_zero3(self) -> bool:
        return True


def build_engine(
    policy: Policy, config: LearnerConfig, *, load_universal: bool = False
) -> tuple[DeepSpeedEngine, torch.optim.AdamW]:
    """Return the policy under ZeRO and its AdamW, whose parameter groups take the learning rate.

    Set `load_universal` to load a checkpoint in the universal format next.
    """
    trainable = [parameter for parameter in policy.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(
        parameter_groups(trainable, config.weight_decay),
        lr=config.lr,
        betas=config.betas,
        eps=config.eps,
        fused=True,  # one pass over the weights instead of six, and on a GPU no temporaries of 8 bytes a parameter
    )
    adapter = sum(parameter.numel() for parameter in trainable) if policy.adapter else 0
    ds_config = deepspeed_config(config, load_universal=load_universal, adapter=adapter)
    engine, *_ = deepspeed.initialize(model=policy, optimizer=optimizer, config=ds_config)
    return engine, optimizer


def drop_gradients(engine: DeepSpeedEngine) -> None:
    """Drop the gradients that remain after DeepSpeed skipped a step.

    In bfloat16 with an offloaded optimizer, stages 1 and 2 would otherwise add to a sum that is not finite.
    """
    if isinstance(engine.optimizer, DeepSpeedZeroOptimizer):
        engine.optimizer.averaged_gradients = dict.fromkeys(engine.optimizer.averaged_gradients)
