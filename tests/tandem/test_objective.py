"""The objective against formulas written out token by token, and what holds whatever the numbers are."""

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
from tandem.batching import MicroBatch, Sample, apply_aggregation, collate
from tandem.config.algo import AlgoConfig
from tandem.loss import CORRECTIONS, KL_ESTIMATORS, POLICY_LOSSES, corrected, gap, k3, micro_batch_loss, towards_junior
from tandem.metrics import step_metrics
from tests.support.objective_batches import MAX_TOKENS, batch_of, policy_logprobs, random_samples

LOW, HIGH = 0.2, 0.3
seeds = st.integers(0, 1000)
every_loss = pytest.mark.parametrize("policy_loss", POLICY_LOSSES)
every_aggregation = pytest.mark.parametrize("aggregation", AGGREGATIONS)


def algo(**changes: object) -> AlgoConfig:
    return replace(AlgoConfig(clip_low=LOW, clip_high=HIGH), **changes)  # type: ignore[arg-type]


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


# Kullback-Leibler terms


@pytest.mark.parametrize(
    ("name", "gradient_of"),
    [("k1", None), ("k2", "policy to reference"), ("k3", "reference to policy"), ("k3_clamped", "reference to policy")],
)
def test_kl_estimators_have_documented_expectation(name: str, gradient_of: str | None) -> None:
    """In expectation over a small vocabulary k1 and k3 are the divergence; the gradients are those that the docstrings say."""
    logits, reference = torch.randn(2, 7, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    logits.requires_grad_()
    p, r = torch.log_softmax(logits, -1), torch.log_softmax(reference, -1)
    sampled = p.detach().exp()  # how often each token is drawn: no gradient goes through the drawing
    estimate = (sampled * KL_ESTIMATORS[name](p, r)).sum()
    policy_to_reference, reference_to_policy = (p.exp() * (p - r)).sum(), (r.exp() * (r - p)).sum()
    if name != "k2":
        torch.testing.assert_close(estimate, policy_to_reference)
    wanted = {None: 0 * p.sum(), "policy to reference": policy_to_reference, "reference to policy": reference_to_policy}
    (found,) = torch.autograd.grad(estimate, logits, retain_graph=True)
    (expected,) = torch.autograd.grad(wanted[gradient_of], logits)
    torch.testing.assert_close(found, expected)


def test_clamped_estimator_has_no_gradient_at_its_limit() -> None:
    logprobs = torch.tensor([-1.0, -4.0, -40.0], requires_grad=True)
    estimates = KL_ESTIMATORS["k3_clamped"](logprobs, torch.tensor([-1.5, -1.5, -1.5]))
    assert estimates.tolist() == pytest.approx([math.exp(-0.5) - 0.5, math.exp(2.5) - 3.5, 10.0])
    (gradient,) = torch.autograd.grad(estimates.sum(), logprobs)
    assert gradient.tolist() == pytest.approx([1 - math.exp(-0.5), 1 - math.exp(2.5), 0.0])


def test_junior_term_is_divergence_with_its_gradient() -> None:
    logits, junior = torch.randn(2, 7, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    logits.requires_grad_()
    p, q = torch.log_softmax(logits, -1), torch.log_softmax(junior, -1)
    term, divergence = (q.exp() * towards_junior(p, q)).sum(), (q.exp() * (q - p)).sum()
    torch.testing.assert_close(term, divergence)
    torch.testing.assert_close(*(torch.autograd.grad(each, logits, retain_graph=True)[0] for each in (term, divergence)))


@given(seed=seeds)
@settings(max_examples=20)
def test_each_term_affects_only_tokens_of_its_author(seed: int) -> None:
    batch = batch_of([replace(sample, advantage=0.0) for sample in random_samples(seed, imitate_junior=True)])
    reference = batch.old_logprobs - 0.5
    batch = replace(batch, reference_logprobs=torch.where(batch.senior, reference, torch.nan))
    logprobs = policy_logprobs(batch, seed)

    loss, stats = micro_batch_loss(logprobs, batch, algo(kl_coef=0.1))
    (gradient,) = torch.autograd.grad(loss, logprobs)
    assert not gradient[~batch.senior].any() and gradient[batch.senior].all()
    at_senior = k3(logprobs[batch.senior], reference[batch.senior]).mean()
    assert stats["kl_reference"].item() == pytest.approx(at_senior.item(), rel=1e-5)
    assert loss.item() == pytest.approx(0.1 * at_senior.item(), rel=1e-5)

    loss, stats = micro_batch_loss(logprobs, batch, algo(lambda_junior=0.2))
    (gradient,) = torch.autograd.grad(loss, logprobs)
    assert not gradient[batch.senior].any()
    if (~batch.senior).any():
        at_junior = (batch.behavior_logprobs - logprobs)[~batch.senior].mean()
        assert stats["kl_junior"].item() == pytest.approx(at_junior.item(), rel=1e-5)
        torch.testing.assert_close(gradient[~batch.senior].sum().item(), -0.2, rtol=1e-5, atol=0)


# Engine against learner


@given(seed=seeds)
@settings(max_examples=30)
def test_mismatch_corrections_follow_their_papers(seed: int) -> None:
    batch = batch_of(random_samples(seed))
    log_ratio = policy_logprobs(batch, seed, spread=0.8).detach() - batch.old_logprobs
    low, high = 0.6, 1.5
    found = {name: correct(log_ratio, batch.rollout, low, high) for name, correct in CORRECTIONS.items()}
    assert batch.senior.all()
    for i, w in enumerate(log_ratio.exp().tolist()):
        mine = log_ratio[batch.rollout == batch.rollout[i]]
        geometric_mean = math.exp(mine.mean().item())
        assert found["tis"][i].item() == pytest.approx(min(w, high))
        assert found["icepop"][i].item() == pytest.approx(w if low <= w <= high else 0.0)
        assert found["sequence_mask"][i].item() == float(low <= geometric_mean <= high)


@pytest.mark.parametrize("name", CORRECTIONS)
def test_where_engine_and_learner_agree_nothing_is_corrected(name: str) -> None:
    rollout = torch.tensor([0, 0, 1])
    assert torch.equal(CORRECTIONS[name](torch.zeros(3), rollout, 0.5, 2.0), torch.ones(3))


@pytest.mark.parametrize("name", CORRECTIONS)
@settings(max_examples=30)
@given(seed=seeds, junior=st.sampled_from([-math.inf, math.inf, math.nan, -30.0, 5.0]))
def test_junior_tokens_are_not_corrected(name: str, seed: int, junior: float) -> None:
    """Where engine and learner agree exactly on the senior's tokens, nothing of the senior's is masked or apply_aggregation."""
    batch = batch_of(random_samples(seed, junior_weight=0.5, imitate_junior=True))
    batch = replace(batch, old_logprobs=torch.where(batch.senior, batch.old_logprobs, junior))
    after, stats = corrected(batch, algo(mismatch=name))
    assert torch.equal(after.coefficients, batch.coefficients)
    assert stats["masked"] == 0 and stats["corrected"] == stats["correction"] == batch.senior.sum()


# Metrics

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


@every_loss
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
    """Whoever wrote the tokens, and whatever is masked; where nothing counts there is no gradient."""
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
