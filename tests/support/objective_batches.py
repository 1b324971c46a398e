"""Random micro-batches for tests of the objective, without a model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from hypothesis import strategies as st
from torch import Tensor

from tandem.batching import MicroBatch, Sample, apply_aggregation, collate
from tandem.config.algo import AlgoConfig

MAX_TOKENS = 12
LOW, HIGH = 0.2, 0.3
"""The clip range of `algo`."""
seeds = st.integers(0, 1000)


def algo(**changes: object) -> AlgoConfig:
    """Return the default settings of the algorithm with `changes`."""
    return replace(AlgoConfig(clip_low=LOW, clip_high=HIGH), **changes)  # type: ignore[arg-type]


def random_samples(seed: int, rollouts: int = 6, junior_weight: float = 0.0, *, imitate_junior: bool = False) -> list[Sample]:
    """Return samples of one prompt token and 1 to MAX_TOKENS random tokens by both authors, the first by the senior."""
    rng = np.random.default_rng(seed)
    samples = []
    for _ in range(rollouts):
        length = int(rng.integers(1, MAX_TOKENS + 1))
        senior = rng.random(length) < 0.6
        senior[0] = True
        samples.append(
            Sample(
                token_ids=rng.integers(0, 50, length + 1),
                senior=senior,
                weights=np.where(senior, 1.0, junior_weight),
                junior_weights=(~senior & imitate_junior).astype(float),
                behavior_logprobs=rng.normal(-2, 0.7, length).astype(np.float32),
                advantage=float(rng.normal()),
            )
        )
    return samples


def batch_of(samples: list[Sample], aggregation: str = "token") -> MicroBatch:
    """Return the samples as the only micro-batch of a step."""
    return collate(apply_aggregation([[samples]], aggregation, MAX_TOKENS)[0][0])


def policy_logprobs(batch: MicroBatch, seed: int = 0, spread: float = 0.3) -> Tensor:
    """Return random log-probabilities of the scored tokens, float64 [N], with a gradient."""
    noise = torch.randn(len(batch.targets), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (batch.old_logprobs.double() + spread * noise).requires_grad_()


def rows(batch: MicroBatch, values: Tensor, fill: float = 0.0) -> Tensor:
    """Return the values [N] of the scored tokens as a padded table [B, T] with a row per rollout."""
    return torch.stack(
        [
            torch.nn.functional.pad(row, (0, MAX_TOKENS - len(row)), value=fill)
            for row in (values[batch.rollout == r] for r in range(len(batch.input_ids)))
        ]
    )
