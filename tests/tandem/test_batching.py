from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tandem.aggregation import AGGREGATIONS
from tandem.batching import (
    Sample,
    apply_aggregation,
    collate,
    plan_step,
    split_micro_batches,
    split_mini_batches,
    split_ranks,
    to_samples,
)
from tandem.buckets import USEFUL_FRACTION
from tandem.config.algo import MINI_BATCH_ORDERS, AlgoConfig
from tandem.config.schema import Config
from tests.support.random_groups import random_groups

lengths = st.lists(st.integers(2, 60), max_size=24)


def sample(length: int, identity: int = 0) -> Sample:
    """Return a sample of `length` tokens, half of them the prompt's, identified by its advantage."""
    completion = (length + 1) // 2
    return Sample(
        token_ids=np.arange(length + 1),
        senior=np.ones(completion, bool),
        weights=np.ones(completion, np.float32),
        junior_weights=np.zeros(completion, np.float32),
        behavior_logprobs=np.zeros(completion, np.float32),
        advantage=float(identity),
    )


def samples(sizes: list[int]) -> list[Sample]:
    return [sample(size, identity) for identity, size in enumerate(sizes)]


def identities(parts: list[list[Sample]]) -> list[float]:
    return sorted(s.advantage for part in parts for s in part)


@given(lengths, st.integers(1, 4))
def test_ranks_are_balanced_by_tokens(sizes: list[int], ranks: int) -> None:
    parts = split_ranks(samples(sizes), ranks)
    assert identities(parts) == list(range(len(sizes)))
    tokens = [sum(map(len, part)) for part in parts]
    assert max(tokens) - min(tokens) <= max(sizes, default=0)


@given(st.lists(st.integers(2, 60), min_size=1, max_size=24), st.integers(1, 4), st.integers(20, 200))
def test_ranks_have_equal_numbers_of_micro_batches_and_coefficients_sum(sizes: list[int], ranks: int, budget: int) -> None:
    (micro_batches,) = apply_aggregation([split_micro_batches(samples(sizes), ranks, budget)], "token", max_tokens=60)
    assert len({len(micro_batches[rank::ranks]) for rank in range(ranks)}) == 1
    assert identities(micro_batches) == list(range(len(sizes)))
    batches = list(map(collate, micro_batches))
    assert sum(float(batch.coefficients.sum()) for batch in batches) == pytest.approx(1)
    real = sum(batch.real_tokens for batch in batches)
    padded = sum(batch.padded_tokens for batch in batches if batch.real_tokens)
    assert real == sum(sizes) and real >= USEFUL_FRACTION * padded


def test_collated_positions_predict_scored_tokens() -> None:
    rollouts = random_groups(0)[0].rollouts
    batch = collate(to_samples(random_groups(0)[:1], junior_token_loss_weight=0.0))
    # In `flat`, position p predicts the token at p + 1 of the same row.
    flat, length = batch.input_ids.flatten(), batch.input_ids.shape[1]
    expected_targets = np.concatenate([r.token_ids[r.authorship == 1] for r in rollouts])
    np.testing.assert_array_equal(batch.targets, expected_targets)
    for position, target in zip(batch.positions.tolist(), batch.targets.tolist(), strict=True):
        row, column = divmod(position, length)
        full = np.concatenate([rollouts[row].prompt_ids, rollouts[row].token_ids])
        assert full[column + 1] == target and flat[position] == full[column]
        assert column + 1 >= len(rollouts[row].prompt_ids)
    np.testing.assert_array_equal(batch.old_logprobs, np.concatenate([r.logprobs[r.authorship == 1] for r in rollouts]))
    assert batch.senior.all() and (batch.coefficients == 1).all()
    np.testing.assert_array_equal(batch.rollout, batch.positions // length)


def test_junior_tokens_are_scored_only_with_weight() -> None:
    groups = random_groups(1)
    batch = collate(to_samples(groups, junior_token_loss_weight=0.25))
    assert len(batch.targets) == sum(len(r) for g in groups for r in g.rollouts)
    assert torch.equal(batch.coefficients, torch.where(batch.senior, 1.0, 0.25)) and not batch.junior_coefficients.any()
    batch = collate(to_samples(groups, junior_token_loss_weight=0.0, imitate_junior=True))
    assert torch.equal(batch.coefficients, batch.senior.float())
    assert torch.equal(batch.junior_coefficients, (~batch.senior).float())


def test_fresh_rollouts_have_only_current_weights() -> None:
    groups = random_groups(2)
    stale = groups[1].rollouts[0]
    stale.weight_versions = np.where(stale.authorship == 1, 4, -1)
    stale.weight_versions[0] = 3
    for version, fresh in ((None, 16), (0, 15), (3, 0), (4, 0)):
        batch = collate(samples := to_samples(groups, junior_token_loss_weight=0.5, version=version))
        assert sum(sample.fresh for sample in samples) == fresh
        assert int(batch.fresh.sum()) == sum(int(sample.senior.sum()) for sample in samples if sample.fresh)
        assert not (batch.fresh & ~batch.senior).any()


def test_mini_batches_are_equal_shuffled_and_reproducible() -> None:
    first = split_mini_batches([samples([5] * 16)], 4, "shuffled", seed=(1, 2))
    assert [len(part) for part in first] == [4] * 4 and identities(first) == list(range(16))
    order = [[s.advantage for s in part] for part in first]
    for seed, same in (((1, 2), True), ((1, 3), False)):
        again = split_mini_batches([samples([5] * 16)], 4, "shuffled", seed)
        assert (order == [[s.advantage for s in part] for part in again]) == same


@given(st.lists(st.integers(1, 5), min_size=1, max_size=9), st.integers(1, 4))
def test_mini_batches_of_whole_prompts_keep_order(group_sizes: list[int], count: int) -> None:
    rollouts = iter(samples([5] * sum(group_sizes)))
    groups = [[next(rollouts) for _ in range(size)] for size in group_sizes]
    parts = split_mini_batches(groups, count, "prompts", seed=(1, 2))
    assert [s.advantage for part in parts for s in part] == list(range(sum(group_sizes)))
    ends = set(np.cumsum(group_sizes).tolist())
    assert {int(part[-1].advantage) + 1 for part in parts} <= ends
    prompts = [sum(part[0].advantage < end <= part[-1].advantage + 1 for end in ends) for part in parts]
    assert len(parts) == min(count, len(groups)) and max(prompts) - min(prompts) <= 1


@given(st.integers(1, 40), st.integers(1, 12))
def test_remaining_groups_fill_all_mini_batches(left: int, count: int) -> None:
    parts = split_mini_batches([samples([5] * left)], count, "shuffled", seed=(0, 0))
    assert identities(parts) == list(range(left))
    sizes = [len(part) for part in parts]
    assert len(sizes) == min(left, count)
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("learning", [{"junior_token_loss_weight": 0.5}, {"imitate_junior": True}, {}])
def test_mini_batch_without_scored_token_is_skipped(learning: dict[str, Any]) -> None:
    group = random_groups(0)[0]
    for rollout in group.rollouts[1:]:
        rollout.authorship[:] = 0
    first, *rest = to_samples([group], **{"junior_token_loss_weight": 0.0} | learning)
    for seed in range(8):
        parts = split_mini_batches([[first, *rest]], 4, "shuffled", seed=(0, seed))
        assert parts == [[first]] if not learning else len(parts) == 4


def test_step_without_senior_tokens_has_no_mini_batch() -> None:
    """One step in four with `prompts_per_step=1 group_size=2 max_tokens=1`."""
    groups = random_groups(0)
    for rollout in (r for g in groups for r in g.rollouts):
        rollout.authorship[:] = 0
    for order in MINI_BATCH_ORDERS:
        assert split_mini_batches([to_samples([group], 0.0) for group in groups], 2, order, seed=(0, 0)) == []
    assert apply_aggregation([], "token", 8) == []


def test_error_names_malformed_rollout() -> None:
    groups = random_groups(0)
    groups[1].rollouts[2].authorship = np.ones(1, np.int8)
    with pytest.raises(ValueError, match=r"rollout 1/2: .* authorship mask of 1"):
        to_samples(groups, 0.0)
    groups[0].advantages = np.zeros(0, np.float32)
    with pytest.raises(ValueError, match="0 advantages for 4 rollouts"):
        to_samples(groups, 0.0)


@given(
    seed=st.integers(0, 2**16),
    ranks=st.integers(1, 5),
    group_size=st.integers(1, 3),
    budget=st.integers(8, 200),
    mini_batches=st.integers(1, 4),
    order=st.sampled_from(MINI_BATCH_ORDERS),
    aggregation=st.sampled_from(sorted(AGGREGATIONS)),
    version=st.integers(0, 2),
)
def test_plans_sent_to_ranks_are_those_that_ranks_would_make_of_all_groups(
    seed: int, ranks: int, group_size: int, budget: int, mini_batches: int, order: str, aggregation: str, version: int
) -> None:
    groups = random_groups(seed, groups=4, size=3)
    config = Config(seed=seed)
    config.algo = AlgoConfig(mini_batches=mini_batches, mini_batch_order=order, aggregation=aggregation, lambda_junior=0.1)
    config.learner.micro_batch_tokens, config.learner.sequence_parallel = budget, group_size
    of_all_ranks = plan_step(groups, version + 1, config, ranks * group_size)
    plans = of_all_ranks[::group_size]
    for rank, plan in enumerate(of_all_ranks):
        assert repr(plan) == repr(plans[rank // group_size]), "ranks that split sequences get the same ones"

    samples = [to_samples([group], 0.0, imitate_junior=True, version=version) for group in groups]
    parts = split_mini_batches(samples, mini_batches, order, seed=(seed, version + 1))
    whole = apply_aggregation(
        [split_micro_batches(part, ranks, budget * group_size) for part in parts],
        aggregation,
        config.rollout.sampling.max_tokens,
    )
    for rank, plan in enumerate(pickle.loads(pickle.dumps(plans))):
        assert len(plan) == len(whole) == len(parts)
        for sent, expected in zip(plan, whole, strict=True):
            for batch, own in zip(map(collate, sent), map(collate, expected[rank::ranks]), strict=True):
                torch.testing.assert_close(vars(batch), vars(own), rtol=0, atol=0)
    sent_rollouts = [
        (sample.advantage, sample.token_ids.tobytes()) for plan in plans for part in plan for batch in part for sample in batch
    ]
    expected_rollouts = [(sample.advantage, sample.token_ids.tobytes()) for part in parts for sample in part]
    assert sorted(sent_rollouts) == sorted(expected_rollouts), "every rollout of a mini-batch once"
    assert len({tuple(map(len, plan)) for plan in plans}) == 1, "equally many micro-batches on all ranks"
