"""DeepSpeed: the process group, and the ZeRO engine for a policy."""

from __future__ import annotations

import logging
import warnings
from datetime import timedelta
from typing import Any

import deepspeed
import torch
from deepspeed.runtime.engine import DeepSpeedEngine

from learner.policy import Policy
from tandem.config import LearnerConfig
from tandem.optim import parameter_groups


def join_process_group(device: str, timeout_s: float) -> None:
    """Joins the ranks named by the environment (RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT): NCCL on GPUs, gloo on CPU.

    A collective that waits longer than `timeout_s` fails.
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


def engine_config(config: LearnerConfig, persistence_threshold: int) -> dict[str, Any]:
    """DeepSpeed's own configuration for ours.

    Raises `ValueError` for bfloat16 without ZeRO, which would have no float32 master weights.
    """
    if config.dtype == "bfloat16" and config.zero_stage == 0:
        raise ValueError("learner.dtype=bfloat16 with learner.zero_stage=0 keeps no float32 master weights; use zero_stage=1")
    return {
        # The update sets accumulation boundaries itself, since their number varies from step to step.
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,
        "gradient_clipping": config.grad_clip,
        "bf16": {"enabled": config.dtype == "bfloat16"},
        "data_types": {"grad_accum_dtype": "fp32"},
        "zero_optimization": {
            "stage": config.zero_stage,
            "stage3_param_persistence_threshold": persistence_threshold,
        },
        "steps_per_print": None,
    }


def build_engine(
    policy: Policy, config: LearnerConfig, persistence_threshold: int
) -> tuple[DeepSpeedEngine, torch.optim.AdamW]:
    """The policy under ZeRO, and the AdamW inside it, whose parameter groups take the learning rate.

    Under stage 3, parameters of fewer than `persistence_threshold` elements stay whole on every rank.
    """
    optimizer = torch.optim.AdamW(
        parameter_groups(policy.parameters(), config.weight_decay), lr=config.lr, betas=config.betas, eps=config.eps
    )
    engine, *_ = deepspeed.initialize(model=policy, optimizer=optimizer, config=engine_config(config, persistence_threshold))
    return engine, optimizer
