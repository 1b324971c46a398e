"""The published run's objective on a hand-made batch, against the formulas of its code on padded tables."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain

import numpy as np
import pytest
import torch
from torch import Tensor

from launch.entry import configuration
from tandem.advantage import grpo
from tandem.batching import Sample, apply_aggregation, collate, split_micro_batches, split_mini_batches
from tandem.loss import micro_batch_loss

PROMPTS, GROUP, TOKENS = 4, 3, 7
ROLLOUTS = PROMPTS * GROUP
LENGTHS = [7, 2, 4, 1, 6, 7, 3, 5, 2, 6, 4, 7]
REWARDS = [[1, 0, 0], [0, 1, 1], [1, 1, 0], [0, 0, 1]]
ROW, COLUMN = torch.meshgrid(torch.arange(ROLLOUTS), torch.arange(TOKENS), indexing="ij")
RESPONSE = torch.tensor(LENGTHS)[:, None] > COLUMN
"""bool [R, T], which entries of a table are tokens"""
SENIOR = RESPONSE & ((ROW + COLUMN * COLUMN) % 3 != 1)
OLD = -1.0 - 0.1 * (3 * ROW + 5 * COLUMN % 7).double()
"""float64 [R, T], the senior's log-probabilities before the update, as the learner recomputes them"""
BEHAVIOUR = OLD + torch.where(SENIOR, 0.01, -2.0)
"""float64 [R, T], those of the engine that wrote the token"""
NEW = OLD + torch.tensor([0.0, 0.1, -0.1, 0.25, -0.4, 1.3, 2.0]).double()[(2 * ROW + COLUMN) % 7]
"""float64 [R, T], those of the policy; the ratios reach from 0.67 to 7.4"""
REFERENCE = OLD + torch.tensor([0.0, 0.5, 6.0]).double()[(ROW + COLUMN) % 3]
"""float64 [R, T], those of the reference; some k3 are beyond its limit"""


def samples_by_prompt(junior_weight: float) -> list[list[Sample]]:
    """The rollouts; the id of a token is its place in a table."""
    advantages = np.concatenate([grpo(np.array(rewards, np.float32)) for rewards in REWARDS])
    samples = []
    for row, length in enumerate(LENGTHS):
        senior = SENIOR[row, :length].numpy()
        samples.append(
            Sample(
                token_ids=np.concatenate([[0], row * TOKENS + np.arange(length)]),
                senior=senior,
                weights=np.where(senior, 1.0, junior_weight),
                junior_weights=np.zeros(length),
                behavior_logprobs=BEHAVIOUR[row, :length].numpy(),
                advantage=float(advantages[row]),
            )
        )
    return [samples[start : start + GROUP] for start in range(0, ROLLOUTS, GROUP)]


def token_losses(logprobs: Tensor) -> Tensor:
    """The loss of every token, [R, T]: PPO's clip of 0.2, and where the advantage is negative a ratio of at most 3."""
    rewards = torch.tensor(REWARDS, dtype=torch.float64)
    advantages = (rewards - rewards.mean(1, keepdim=True)) / (rewards.std(1, keepdim=True) + 1e-6)
    advantages = advantages.flatten()[:, None].expand(ROLLOUTS, TOKENS)
    ratio = torch.exp(logprobs - OLD)
    clipped = torch.max(-advantages * ratio, -advantages * ratio.clamp(0.8, 1.2))
    return torch.where(advantages < 0, torch.min(clipped, -advantages * 3), clipped)


def kl_losses(logprobs: Tensor) -> Tensor:
    """The KL estimate of every token, [R, T]."""
    log_ratio = REFERENCE - logprobs
    return (log_ratio.exp() - log_ratio - 1).clamp(-10, 10)


def release_mean(losses: Tensor, mask: Tensor, rows: list[int], micro_batches: list[list[int]]) -> Tensor:
    """Return the masked sum divided by all response tokens, of both authors, of the mini-batch of rollouts `rows`."""
    return (losses * mask)[rows].sum() / RESPONSE[rows].sum()


def fork_mean(losses: Tensor, mask: Tensor, rows: list[int], micro_batches: list[list[int]]) -> Tensor:
    """The masked means of the micro-batches, weighed by their share of the rollouts."""
    means = [len(part) / len(rows) * (losses * mask)[part].sum() / mask[part].sum() for part in micro_batches]
    return torch.stack(means).sum()


@pytest.mark.parametrize(("junior_weight", "kl_coef"), [(0.0, 0.0), (0.15, 0.0), (0.0, 0.05)])
@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize(("aggregation", "mean"), [("response_token", release_mean), ("micro_batch", fork_mean)])
def test_published_settings_equal_formula_of_release(
    aggregation: str, mean: object, ranks: int, kl_coef: float, junior_weight: float
) -> None:
    published = configuration(["+experiment=paper_qwen3_4b", "algo=kl_reg"]).algo
    assert published.aggregation == "response_token" and published.dual_clip == 3 and published.old_logprobs == "learner"
    algo = replace(published, aggregation=aggregation, kl_coef=kl_coef, junior_token_loss_weight=junior_weight)
    parts = split_mini_batches(samples_by_prompt(junior_weight), algo.mini_batches, algo.mini_batch_order, seed=(1, 1))
    micro_batches = [split_micro_batches(part, ranks, max_tokens=14) for part in parts]
    plans = apply_aggregation(micro_batches, algo.aggregation, max_tokens=TOKENS)
    assert len(plans) == 2 and all(len(plan) > 2 for plan in plans)

    mask = SENIOR + junior_weight * (RESPONSE & ~SENIOR)
    assert ((token_losses(NEW) * mask) == (token_losses(NEW + 0.1) * mask)).sum() > 30, "many tokens are clipped"
    for index, plan in enumerate(plans):
        rows = [row for row in range(ROLLOUTS) if row // GROUP // 2 == index]  # two whole prompts, in order
        in_micro_batches = [sorted({int(sample.token_ids[1]) // TOKENS for sample in part}) for part in plan if part]
        assert sorted(chain(*in_micro_batches)) == rows

        logprobs, loss = NEW.clone().requires_grad_(), torch.zeros(())
        for part in map(collate, plan):
            old, reference, new = (table.flatten()[part.targets] for table in (OLD, REFERENCE, logprobs))
            batch = replace(part, old_logprobs=old, reference_logprobs=reference)
            loss = loss + micro_batch_loss(new, batch, algo)[0]
        wanted_logprobs = NEW.clone().requires_grad_()
        wanted = mean(token_losses(wanted_logprobs), mask, rows, in_micro_batches)  # type: ignore[operator]
        wanted = wanted + kl_coef * mean(kl_losses(wanted_logprobs), mask, rows, in_micro_batches)  # type: ignore[operator]
        torch.testing.assert_close(loss.double(), wanted, rtol=1e-6, atol=1e-6)
        (gradient,), (wanted_gradient,) = torch.autograd.grad(loss, logprobs), torch.autograd.grad(wanted, wanted_logprobs)
        torch.testing.assert_close(gradient, wanted_gradient, rtol=1e-6, atol=1e-6)
