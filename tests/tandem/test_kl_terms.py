"""The Kullback-Leibler terms of the objective: towards the reference, and towards the junior."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings

from tandem.loss import KL_ESTIMATORS, k3, micro_batch_loss, towards_junior
from tests.support.objective_batches import algo, batch_of, policy_logprobs, random_samples, seeds


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
