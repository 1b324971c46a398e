"""The frozen reference of the Kullback-Leibler term: the senior's base model, or the junior."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import deepspeed
import torch
from deepspeed.runtime.engine import DeepSpeedEngine
from torch import Tensor, nn

from learner.policy import Policy
from learner.zero import placed_parameters
from tandem.batching import MicroBatch
from tandem.config.learner import LearnerConfig

if TYPE_CHECKING:
    from learner.adapter import Adapter


class Reference(Protocol):
    """A frozen model."""

    def logprobs(self, batch: MicroBatch) -> Tensor:
        """Return log-probabilities float32 [N] of the scored tokens of `batch`. All ranks must call it."""
        ...


class FrozenCopy:
    """A frozen policy, partitioned over the ranks under ZeRO-3, otherwise whole on every rank."""

    def __init__(self, policy: Policy, config: LearnerConfig, device: torch.device) -> None:
        policy.requires_grad_(False).eval()
        self._model: nn.Module = policy.to(device)
        if config.zero_stage == 3:
            zero = {"stage": 3} | placed_parameters(config)
            bf16 = {"enabled": config.dtype == "bfloat16"}
            ds_config = {"train_micro_batch_size_per_gpu": 1, "bf16": bf16, "zero_optimization": zero}
            self._model, *_ = deepspeed.initialize(model=policy, config=ds_config)

    @torch.no_grad()
    def logprobs(self, batch: MicroBatch) -> Tensor:
        """Return log-probabilities float32 [N] of the scored tokens of `batch`. All ranks must call it."""
        logprobs, _ = self._model(batch.input_ids, batch.positions, batch.targets)
        return logprobs


class AdapterOff:
    """The policy in `engine` without its adapter: the base model, without a second copy of it."""

    def __init__(self, engine: DeepSpeedEngine, adapter: Adapter) -> None:
        self._engine, self._adapter = engine, adapter

    @torch.no_grad()
    def logprobs(self, batch: MicroBatch) -> Tensor:
        """Return log-probabilities float32 [N] of the scored tokens of `batch`. All ranks must call it."""
        with self._adapter.off():
            logprobs, _ = self._engine(batch.input_ids, batch.positions, batch.targets)
        return logprobs
