"""The corrections of the mismatch between engine and learner."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tandem.loss import CORRECTIONS, corrected
from tests.support.objective_batches import algo, batch_of, policy_logprobs, random_samples, seeds


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
    """Where engine and learner agree exactly on the senior's tokens, nothing of the senior's is masked or weighted."""
    batch = batch_of(random_samples(seed, junior_weight=0.5, imitate_junior=True))
    batch = replace(batch, old_logprobs=torch.where(batch.senior, batch.old_logprobs, junior))
    after, stats = corrected(batch, algo(mismatch=name))
    assert torch.equal(after.coefficients, batch.coefficients)
    assert stats["masked"] == 0 and stats["corrected"] == stats["correction"] == batch.senior.sum()
