"""The metrics of an update: they stay within their bounds whatever the numbers are."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tandem.aggregation import AGGREGATIONS
from tandem.loss import CORRECTIONS, POLICY_LOSSES, corrected, gap, micro_batch_loss
from tandem.metrics import step_metrics
from tests.support.objective_batches import algo, batch_of, policy_logprobs, random_samples, seeds

MAX_RATIO = math.exp(20)
BOUNDS = {
    "policy/clip_fraction": (0, 1),
    "policy/ratio_mean": (1 / MAX_RATIO, MAX_RATIO),
    "policy/entropy": (0, math.log(50)),
    "logprob/gap_mean": (0, math.inf),
    "logprob/stale_gap_mean": (0, math.inf),
    "mismatch/weight_mean": (0, 1.5),
    "mismatch/masked_fraction": (0, 1),
    "learner/useful_token_fraction": (0, 1),
    "learner/tokens": (0, math.inf),
    "loss/policy": (-math.inf, math.inf),
    "loss/kl_reference": (0, math.inf),
    "loss/kl_junior": (-math.inf, math.inf),
}


@pytest.mark.parametrize("policy_loss", POLICY_LOSSES)
@settings(max_examples=60)
@given(
    seed=seeds,
    masks=st.sampled_from(["mixed", "junior alone", "senior alone"]),
    mismatch=st.sampled_from(["none", *CORRECTIONS]),
    junior_weight=st.sampled_from([0.0, 0.3]),
    lambda_junior=st.sampled_from([0.0, 0.2]),
    aggregation=st.sampled_from(list(AGGREGATIONS)),
    spread=st.sampled_from([0.0, 0.1, 3.0, 50.0]),
)
def test_metrics_stay_within_their_bounds(
    policy_loss: str,
    seed: int,
    masks: str,
    mismatch: str,
    junior_weight: float,
    lambda_junior: float,
    aggregation: str,
    spread: float,
) -> None:
    """For every authorship and every mask. A batch in which no token counts has no gradient."""
    settings = algo(
        policy_loss=policy_loss,
        mismatch=mismatch,
        mismatch_low=0.7,
        mismatch_high=1.5,
        lambda_junior=lambda_junior,
        kl_coef=0.1,
    )
    samples = random_samples(seed, junior_weight=junior_weight, imitate_junior=lambda_junior > 0)
    if masks != "mixed":
        alone = masks == "senior alone"
        samples = [
            replace(
                sample,
                senior=np.full(len(sample.senior), alone),
                weights=np.full(len(sample.senior), 1.0 if alone else junior_weight),
                junior_weights=np.full(len(sample.senior), float(not alone and lambda_junior > 0)),
            )
            for sample in samples
        ]
    generator = torch.Generator().manual_seed(seed)
    sums: dict[str, float] = {}

    def add(stats: Mapping[str, Tensor | int]) -> None:
        for name, value in stats.items():
            sums[name] = sums.get(name, 0.0) + float(value)

    counted = 0
    for part in (samples[:2], samples[2:]):
        batch = batch_of(part, aggregation)
        batch = replace(batch, old_logprobs=batch.old_logprobs + spread * torch.randn(len(batch.targets), generator=generator))
        add(gap(batch, batch.behavior_logprobs))
        if mismatch != "none":
            batch, stats = corrected(batch, settings)
            add(stats)
        logprobs = policy_logprobs(batch, seed, spread)
        batch = replace(batch, reference_logprobs=batch.old_logprobs - 0.5)
        loss, stats = micro_batch_loss(logprobs, batch, settings)
        entropies = torch.rand(len(batch.targets), generator=generator) * math.log(50)
        add(stats | {"entropy": entropies[batch.senior].sum(), "senior": batch.senior.sum()})
        add({"real": batch.real_tokens, "padded": batch.padded_tokens})
        counts = (batch.coefficients > 0) | (batch.junior_coefficients > 0)
        (gradient,) = torch.autograd.grad(loss, logprobs)
        assert gradient.isfinite().all() and not gradient[~counts].any()
        counted += int((batch.coefficients > 0)[batch.senior].sum())
    metrics = step_metrics(sums, mini_batches=2)
    for name, value in metrics.items():
        low, high = BOUNDS[name]
        assert low - 1e-6 <= value <= high * (1 + 1e-6), name
    assert ("policy/clip_fraction" in metrics) == bool(counted), "a mean over no tokens is left out"


def test_step_without_update_has_metrics() -> None:
    assert step_metrics({}, mini_batches=0) == {"loss/policy": 0.0, "learner/tokens": 0.0}
