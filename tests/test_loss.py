from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tandem.loss import clipped_loss

CLIP = {"clip_low": 0.2, "clip_high": 0.3}


def reference_loss(logprobs: Tensor, old: Tensor, advantages: Tensor, weights: Tensor) -> Tensor:
    total = torch.zeros((), dtype=logprobs.dtype)
    for logprob, old_logprob, advantage, weight in zip(logprobs, old, advantages, weights, strict=True):
        if weight > 0:
            ratio = torch.exp(logprob - old_logprob)
            bounded = torch.clamp(ratio, 1 - CLIP["clip_low"], 1 + CLIP["clip_high"])
            total = total - weight * torch.min(ratio * advantage, bounded * advantage)
    return total / weights.sum()


def random_tokens(seed: int, count: int = 40, junior_weight: float = 0.0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logprobs, noise, advantages = torch.randn(3, count, generator=generator, dtype=torch.float64)
    senior = torch.rand(count, generator=generator) < 0.5
    senior[0] = True
    return {
        "logprobs": logprobs.requires_grad_(),
        "old_logprobs": logprobs.detach() + 0.4 * noise,
        "advantages": advantages,
        "weights": torch.where(senior, 1.0, junior_weight).double(),
        "senior": senior,
    }


def gradient(tokens: dict[str, Tensor]) -> Tensor:
    loss, _ = clipped_loss(**tokens, **CLIP, denominator=float(tokens["weights"].sum()))
    return torch.autograd.grad(loss, tokens["logprobs"])[0]


@pytest.mark.parametrize("junior_weight", [0.0, 0.3])
@pytest.mark.parametrize("seed", range(5))
def test_loss_and_gradient_match_the_reference(seed: int, junior_weight: float) -> None:
    tokens = random_tokens(seed, junior_weight=junior_weight)
    loss, _ = clipped_loss(**tokens, **CLIP, denominator=float(tokens["weights"].sum()))
    expected = reference_loss(*(tokens[name] for name in ("logprobs", "old_logprobs", "advantages", "weights")))
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(gradient(tokens), torch.autograd.grad(expected, tokens["logprobs"])[0])


wild = st.sampled_from([float("-inf"), float("inf"), float("nan"), -1e30, 1e30, 0.0])


@given(st.integers(0, 100), wild, wild, wild)
def test_nothing_at_junior_tokens_matters(seed: int, logprob: float, old_logprob: float, advantage: float) -> None:
    calm, tokens = random_tokens(seed), random_tokens(seed)
    junior = ~tokens["senior"]
    for name, value in (("logprobs", logprob), ("old_logprobs", old_logprob), ("advantages", advantage)):
        tokens[name] = torch.where(junior, value, tokens[name].detach())
    tokens["logprobs"].requires_grad_()
    assert not gradient(tokens)[junior].any()
    assert torch.equal(gradient(tokens), gradient(calm))
    kwargs = {**CLIP, "denominator": 20.0}
    (loss, stats), (calm_loss, calm_stats) = clipped_loss(**tokens, **kwargs), clipped_loss(**calm, **kwargs)
    assert torch.equal(loss, calm_loss) and stats == calm_stats


def test_a_senior_ratio_that_overflows_leaves_the_gradient_finite() -> None:
    tokens = random_tokens(0)
    tokens["old_logprobs"][0] = -1e4
    assert gradient(tokens).isfinite().all()


@given(st.integers(0, 100), st.integers(1, 39))
def test_micro_batches_add_up(seed: int, cut: int) -> None:
    tokens = random_tokens(seed, junior_weight=0.5)
    kwargs = {**CLIP, "denominator": float(tokens["weights"].sum())}
    parts = [{name: t[rows] for name, t in tokens.items()} for rows in (slice(0, cut), slice(cut, None))]
    whole, whole_stats = clipped_loss(**tokens, **kwargs)
    results = [clipped_loss(**part, **kwargs) for part in parts]
    torch.testing.assert_close(results[0][0] + results[1][0], whole)
    for name, value in whole_stats.items():
        torch.testing.assert_close(results[0][1][name] + results[1][1][name], value)


def test_statistics_count_senior_tokens_only() -> None:
    senior = torch.tensor([True, True, True, False])
    ratios = torch.tensor([1.0, 1.5, 1.5, 9.0])
    _, stats = clipped_loss(
        ratios.log(),
        torch.zeros(4),
        torch.tensor([1.0, 1.0, -1.0, 1.0]),  # a rising ratio is clipped where it is wanted, not where it is not
        torch.ones(4),
        senior,
        clip_low=0.2,
        clip_high=0.2,
        denominator=4.0,
    )
    assert {name: round(value.item(), 5) for name, value in stats.items()} == {"tokens": 3, "ratio": 4.0, "clipped": 1}
