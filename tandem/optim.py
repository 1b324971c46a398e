"""The optimizer's learning rate and parameter groups."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from torch import nn

from tandem.config.learner import LearnerConfig


def learning_rate(config: LearnerConfig, step: int, steps: int) -> float:
    """Return the learning rate of training step `step` (from 1) of `steps`. All mini-batches of a step share it.

    It rises linearly to `lr` over the first `warmup_steps` steps. Then it is constant or falls, linearly or along half a
    cosine (`lr_schedule`), to `min_lr_ratio * lr` at the last step. For an adapter all of it is `lora.lr_scale` times as much.
    """
    lr = config.lr * (config.lora.lr_scale if config.lora.rank else 1)
    if step <= config.warmup_steps:
        return lr * step / config.warmup_steps
    progress = min(1.0, (step - config.warmup_steps) / max(1, steps - config.warmup_steps))
    falling = {"constant": 1.0, "linear": 1 - progress, "cosine": (1 + math.cos(math.pi * progress)) / 2}
    remaining = falling[config.lr_schedule]
    return lr * (config.min_lr_ratio + (1 - config.min_lr_ratio) * remaining)


def parameter_groups(parameters: Iterable[nn.Parameter], weight_decay: float) -> list[dict[str, Any]]:
    """Return the optimizer's groups: matrices decay by `weight_decay`, norms and biases (vectors) do not. No group is empty.

    The scale of a norm is the gain of a layer, neutral near one. Decay towards zero would shrink the signal.
    """
    parameters = list(parameters)
    groups = [
        {"params": [p for p in parameters if _dimensions(p) >= 2], "weight_decay": weight_decay},
        {"params": [p for p in parameters if _dimensions(p) < 2], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def _dimensions(parameter: nn.Parameter) -> int:
    """Return the number of dimensions of the whole parameter, which DeepSpeed may have partitioned."""
    return len(getattr(parameter, "ds_shape", parameter.shape))
