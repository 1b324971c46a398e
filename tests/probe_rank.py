"""A learner rank that tests can look into."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from deepspeed.utils import safe_get_full_fp32_param, safe_get_full_grad

from learner.rank import Rank
from tandem.config import Config
from tandem.rollout import Group


class ProbeRank(Rank):
    """A rank that can start over with another configuration and show its gradient and its float32 weights."""

    def reload(self, config: Config, model_path: str, saved: Path | None = None) -> None:
        """Starts over from the model at `model_path`, and from the state in `saved`."""
        if hasattr(self, "publisher"):
            self.publisher.close()
        self.config, self.spec = config, replace(self.spec, model_path=model_path)
        self.load(saved)

    def gradient(self, groups: list[Group]) -> dict[str, np.ndarray]:
        """The whole gradient of one mini-batch, reduced over the ranks."""
        (mini_batch,) = self.updater.plan(groups, step=1)
        self.updater.accumulate(mini_batch)
        return {name: safe_get_full_grad(p).float().numpy() for name, p in self._parameters()}

    def master_weights(self) -> dict[str, np.ndarray]:
        """Every parameter as the optimizer keeps it; without ZeRO that is the parameter itself."""
        partitioned = self.updater.engine.zero_optimization_stage() > 0
        whole = safe_get_full_fp32_param if partitioned else torch.Tensor.detach
        return {name: whole(p).numpy().copy() for name, p in self._parameters()}

    def optimizer_settings(self) -> tuple[float, list[float], list[tuple[float, float]]]:
        """Where the gradient norm is clipped, and each parameter group's weight decay and betas."""
        engine = self.updater.engine
        groups = engine.optimizer.param_groups
        return engine.optimizer.clip_grad, [g["weight_decay"] for g in groups], [tuple(g["betas"]) for g in groups]

    def _parameters(self) -> list[tuple[str, Any]]:
        return list(self.updater.engine.module.model.named_parameters())
