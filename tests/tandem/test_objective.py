"""The policy losses against formulas written out token by token, and what holds whatever the numbers are."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tandem.aggregation import AGGREGATIONS
from tandem.batching import MicroBatch, Sample, apply_aggregation, collate
from tandem.loss import POLICY_LOSSES, micro_batch_loss
from tests.support.objective_batches import HIGH, LOW, MAX_TOKENS, algo, batch_of, policy_logprobs, random_samples, seeds

every_loss = pytest.mark.parametrize("policy_loss", POLICY_LOSSES)
every_aggregation = pytest.mark.parametrize("aggregation", AGGREGATIONS)


def by_rollout(batch: MicroBatch, values: Tensor) -> list[list[Tensor]]:
    return [list(values[batch.rollout == r]) for r in range(len(batch.input_ids))]


def written_out(batch: MicroBatch, logprobs: Tensor, policy_loss: str, aggregation: str, samples: list[Sample]) -> Tensor:
    """The policy loss as the papers have it, one token after the other; junior weights may be fractions."""
    weights = [[w for w in sample.weights.tolist() if w] for sample in samples]
    losses = []
    for r, (new, old) in enumerate(zip(by_rollout(batch, logprobs), by_rollout(batch, batch.old_logprobs), strict=True)):
        ratios = [torch.exp(a - b) for a, b in zip(new, old, strict=True)]
        if policy_loss == "gspo":
            wrote = by_rollout(batch, batch.senior)[r]
            counts = [[w if own == one else 0.0 for w, own in zip(weights[r], wrote, strict=True)] for one in wrote]
            means = [sum(w * (a - b) for w, a, b in zip(each, new, old, strict=True)) / sum(each) for each in counts]
            ratios = [torch.exp(torch.as_tensor(mean)) for mean in means]  # of all that the token's author wrote
        advantage = samples[r].advantage
        if policy_loss == "cispo":
            bounded = [min(max(ratio.item(), 1 - LOW), 1 + HIGH) for ratio in ratios]
            losses.append([-bound * advantage * a for bound, a in zip(bounded, new, strict=True)])
        else:
            losses.append([-min(q * advantage, q.clamp(1 - LOW, 1 + HIGH) * advantage) for q in ratios])
    sums = [sum(w * x for w, x in zip(weights[r], each, strict=True)) for r, each in enumerate(losses)]
    totals = [sum(each) for each in weights]
    match aggregation:
        case "token" | "global_token" | "micro_batch":  # one micro-batch is the whole step
            return sum(sums) / sum(totals)
        case "response_token":
            return sum(sums) / sum(len(sample.weights) for sample in samples)
        case "sequence":
            return sum(s / total for s, total in zip(sums, totals, strict=True)) / len(sums)
        case "constant":
            return sum(sums) / (len(sums) * MAX_TOKENS)
    raise ValueError(aggregation)


@pytest.mark.parametrize("junior_weight", [0.0, 0.3])
@every_aggregation
@every_loss
@settings(max_examples=15)
@given(seed=seeds)
def test_loss_and_gradient_equal_formulas(policy_loss: str, aggregation: str, junior_weight: float, seed: int) -> None:
    samples = random_samples(seed, junior_weight=junior_weight)
    batch = batch_of(samples, aggregation)
    logprobs = policy_logprobs(batch, seed)
    loss, _ = micro_batch_loss(logprobs, batch, algo(policy_loss=policy_loss))
    expected = written_out(batch, logprobs, policy_loss, aggregation, samples)
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=1e-6)
    (found,), (wanted,) = torch.autograd.grad(loss, logprobs), torch.autograd.grad(expected, logprobs)
    torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-6)


wild = st.sampled_from([-math.inf, math.inf, math.nan, -1e30, 1e30, 0.0])


@every_loss
@settings(max_examples=30)
@given(seed=seeds, logprob=wild, old_logprob=wild, advantage=wild)
def test_tokens_without_coefficient_have_no_effect(
    policy_loss: str, seed: int, logprob: float, old_logprob: float, advantage: float
) -> None:
    batch = batch_of(random_samples(seed, imitate_junior=True))  # so that the junior's tokens are scored
    junior = ~batch.senior
    logprobs = policy_logprobs(batch, seed)
    disturbed = torch.where(junior, logprob, logprobs.detach()).requires_grad_()
    wild_batch = replace(
        batch,
        old_logprobs=torch.where(junior, old_logprob, batch.old_logprobs),
        advantages=torch.where(junior, advantage, batch.advantages),
    )
    (calm, stats), (loss, wild_stats) = (
        micro_batch_loss(logprobs, batch, algo(policy_loss=policy_loss)),
        micro_batch_loss(disturbed, wild_batch, algo(policy_loss=policy_loss)),
    )
    assert torch.equal(loss, calm) and stats == wild_stats
    gradient = torch.autograd.grad(loss, disturbed)[0]
    assert not gradient[junior].any() and torch.equal(gradient, torch.autograd.grad(calm, logprobs)[0])


@every_aggregation
@every_loss
@settings(max_examples=15)
@given(seed=seeds, cut=st.integers(0, 6))
def test_micro_batches_add_up(policy_loss: str, aggregation: str, seed: int, cut: int) -> None:
    """One of them may be empty."""
    settings = algo(policy_loss=policy_loss, lambda_junior=0.5)
    samples = apply_aggregation([[random_samples(seed, junior_weight=0.5, imitate_junior=True)]], aggregation, MAX_TOKENS)[0][0]
    parts = [collate(samples), collate(samples[:cut]), collate(samples[cut:])]
    logprobs = policy_logprobs(parts[0], seed)
    split = [logprobs, logprobs[: len(parts[1].targets)], logprobs[len(parts[1].targets) :]]
    (whole, stats), *results = [micro_batch_loss(own, part, settings) for own, part in zip(split, parts, strict=True)]
    torch.testing.assert_close(sum(loss for loss, _ in results), whole)
    for name, value in stats.items():
        torch.testing.assert_close(sum(part[name] for _, part in results), value)


@every_aggregation
@settings(max_examples=30)
@given(seed=seeds, cut=st.integers(1, 5))
def test_mini_batches_are_weighted_by_aggregation(aggregation: str, seed: int, cut: int) -> None:
    samples = random_samples(seed)
    parts = [part for (part,) in apply_aggregation([[samples[:cut]], [samples[cut:]]], aggregation, MAX_TOKENS)]
    totals = [sum(sample.weights.sum() for sample in part) for part in parts]
    tokens = [sum(int(sample.senior.sum()) for sample in part) for part in parts]
    responses = [sum(len(sample.senior) for sample in part) for part in parts]
    wanted = {
        "token": [1.0, 1.0],
        "micro_batch": [1.0, 1.0],
        "response_token": [each / all_tokens for each, all_tokens in zip(tokens, responses, strict=True)],
        "sequence": [1.0, 1.0],
        "global_token": [2 * each / sum(tokens) for each in tokens],
        "constant": [each / (len(part) * MAX_TOKENS) for each, part in zip(tokens, parts, strict=True)],
    }
    assert totals == pytest.approx(wanted[aggregation])


@given(seed=seeds, cut=st.integers(1, 5))
def test_micro_batch_means_weigh_by_their_rollouts(seed: int, cut: int) -> None:
    """An empty micro-batch, and one that the junior wrote alone, have no weight."""
    *samples, last = random_samples(seed)
    alone = replace(last, senior=np.zeros_like(last.senior), weights=np.zeros_like(last.weights))
    parts = [samples[:cut], samples[cut:], [], [alone]]
    (weighed,) = apply_aggregation([parts], "micro_batch", MAX_TOKENS)
    totals = [sum(sample.weights.sum() for sample in part) for part in weighed]
    assert totals == pytest.approx([cut / 6, (5 - cut) / 6, 0, 0])


@every_loss
def test_without_advantages_there_is_no_gradient(policy_loss: str) -> None:
    batch = batch_of([replace(sample, advantage=0.0) for sample in random_samples(1)])
    logprobs = policy_logprobs(batch)
    loss, _ = micro_batch_loss(logprobs, batch, algo(policy_loss=policy_loss))
    assert not torch.autograd.grad(loss, logprobs)[0].any()


@every_loss
def test_gradient_is_finite_for_overflowing_ratio(policy_loss: str) -> None:
    batch = batch_of(random_samples(0))
    batch.old_logprobs[0] = -1e4
    logprobs = policy_logprobs(batch_of(random_samples(0)))
    loss, _ = micro_batch_loss(logprobs, batch, algo(policy_loss=policy_loss))
    assert torch.autograd.grad(loss, logprobs)[0].isfinite().all()


def test_statistics_count_senior_tokens() -> None:
    (sample,) = random_samples(0, rollouts=1, junior_weight=1.0)
    senior, advantages = [True, True, True, False], torch.tensor([1.0, 1.0, -1.0, 1.0])
    sample = replace(
        sample,
        token_ids=torch.arange(5).numpy(),
        senior=torch.tensor(senior).numpy(),
        weights=torch.ones(4).numpy(),
        junior_weights=torch.zeros(4).numpy(),
        behavior_logprobs=torch.zeros(4).numpy(),
    )
    batch = replace(batch_of([sample]), advantages=advantages)
    ratios = torch.tensor([1.0, 1.5, 1.5, 9.0])  # a rising ratio is clipped where it is wanted, not where it is not
    _, stats = micro_batch_loss(ratios.log(), batch, algo())
    found = {name: round(stats[name].item(), 5) for name in ("tokens", "ratio", "clipped")}
    assert found == {"tokens": 3, "ratio": 4.0, "clipped": 1}
