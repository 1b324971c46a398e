"""Batching of rollouts: step -> mini-batches -> ranks -> micro-batches.

All functions are pure. The driver plans the whole step, and each rank gets what it trains on.

Micro-batches are padded on the right. They need no attention mask: attention is causal, so no real token attends to the padding
after it, and the outputs at the padding are not used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from operator import attrgetter
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tandem.aggregation import coefficients
from tandem.buckets import buckets
from tandem.config.schema import Config
from tandem.rollout import SENIOR, Group


@dataclass(frozen=True)
class Sample:
    """One rollout: P prompt tokens, then T completion tokens.

    A completion token is *scored* (it enters the loss) if one of its weights is not zero.
    """

    token_ids: np.ndarray
    """int32 [P + T]"""
    senior: np.ndarray
    """bool [T], whether the senior wrote the token"""
    weights: np.ndarray
    """float [T], weights in the policy loss: 1 for the senior's tokens, junior_token_loss_weight for the junior's; after
    `apply_aggregation` the coefficients"""
    junior_weights: np.ndarray
    """float [T], weights in the Kullback-Leibler term towards the junior: 1 for the junior's tokens if the term is used,
    else 0; after `apply_aggregation` the coefficients"""
    behavior_logprobs: np.ndarray
    """float32 [T], from the engine that wrote the token"""
    advantage: float
    fresh: bool = True
    """whether all of the senior's tokens were sampled from the current weights"""

    def __len__(self) -> int:
        """Return the number of tokens that pass through the model: the last one predicts nothing."""
        return len(self.token_ids) - 1

    @property
    def prompt_tokens(self) -> int:
        """Return P."""
        return len(self.token_ids) - len(self.weights)


@dataclass(frozen=True)
class MicroBatch:
    """B samples of at most L tokens, and their N scored tokens."""

    input_ids: Tensor
    """int64 [B, L], padded on the right with 0"""
    positions: Tensor
    """int64 [N], position in the flattened [B * L] whose output predicts the scored token"""
    targets: Tensor
    """int64 [N], the scored tokens"""
    behavior_logprobs: Tensor
    """float32 [N], from the engines that wrote the tokens"""
    old_logprobs: Tensor
    """float32 [N], denominator of the importance ratio: the behaviour log-probabilities unless recomputed"""
    advantages: Tensor
    """float32 [N]"""
    coefficients: Tensor
    """float32 [N], coefficient in the policy loss of the mini-batch"""
    junior_coefficients: Tensor
    """float32 [N], coefficient in the Kullback-Leibler term towards the junior"""
    rollout: Tensor
    """int64 [N], the row of `input_ids`"""
    senior: Tensor
    """bool [N]"""
    fresh: Tensor
    """bool [N], the senior's tokens of fresh samples, on whose log-probabilities engine and learner must agree"""
    real_tokens: int
    """tokens of `input_ids` that are not padding"""
    reference_logprobs: Tensor | None = None
    """float32 [N], from the frozen reference, if `algo.kl_coef` is set"""

    @property
    def padded_tokens(self) -> int:
        """Return B * L."""
        return self.input_ids.numel()

    def to(self, device: torch.device | str) -> MicroBatch:
        """Return the micro-batch on `device`."""
        moved: dict[str, Any] = {name: value.to(device) for name, value in vars(self).items() if isinstance(value, Tensor)}
        return replace(self, **moved)


MiniBatch = tuple[MicroBatch, ...]
"""The micro-batches of one rank in one optimizer step; equally many on every rank."""
RankPlan = list[list[list[Sample]]]
"""What one rank trains on in a step: the samples of each micro-batch of each mini-batch."""


def plan_step(groups: Sequence[Group], step: int, config: Config, ranks: int) -> list[RankPlan]:
    """Return each rank's plan of training step `step` (from 1), whose groups have advantages.

    Raises `ValueError` for groups that cannot be trained on (see `to_samples`).
    """
    algo = config.algo
    samples = [
        to_samples([group], algo.junior_token_loss_weight, imitate_junior=algo.lambda_junior > 0, version=step - 1)
        for group in groups
    ]
    parts = split_mini_batches(samples, algo.mini_batches, algo.mini_batch_order, seed=(config.seed, step))
    sequence_ranks = config.learner.sequence_parallel  # ranks that split the same sequences
    sequence_groups = ranks // sequence_ranks
    max_tokens = config.learner.micro_batch_tokens * sequence_ranks
    micro_batches = [split_micro_batches(part, sequence_groups, max_tokens) for part in parts]
    mini_batches = apply_aggregation(micro_batches, algo.aggregation, config.rollout.sampling.max_tokens)
    return [[mini_batch[rank // sequence_ranks :: sequence_groups] for mini_batch in mini_batches] for rank in range(ranks)]


def to_samples(
    groups: Iterable[Group], junior_token_loss_weight: float, *, imitate_junior: bool = False, version: int | None = None
) -> list[Sample]:
    """Return a sample for every rollout of `groups`, in order.

    The junior's tokens have `junior_token_loss_weight` in the policy loss and, with `imitate_junior`, weight 1 in the term
    towards the junior. Samples are fresh if they were written by `version` (None: all are). Raises `ValueError` for a rollout
    whose arrays have different lengths, and for a group without advantages.
    """
    samples = []
    for group in groups:
        if len(group.advantages) != len(group.rollouts):
            raise ValueError(
                f"problem {group.prompt.problem.id}: {len(group.advantages)} advantages for {len(group.rollouts)} rollouts; "
                "call assign_advantages first"
            )
        for rollout, advantage in zip(group.rollouts, group.advantages, strict=True):
            if not len(rollout) == len(rollout.authorship) == len(rollout.logprobs):
                raise ValueError(
                    f"rollout {rollout.id}: {len(rollout)} tokens, but an authorship mask of {len(rollout.authorship)} and "
                    f"{len(rollout.logprobs)} log-probabilities"
                )
            senior = rollout.authorship == SENIOR
            samples.append(
                Sample(
                    token_ids=np.concatenate([rollout.prompt_ids, rollout.token_ids]).astype(np.int32, copy=False),
                    senior=senior,
                    weights=np.where(senior, 1.0, junior_token_loss_weight).astype(np.float32),
                    junior_weights=(~senior & imitate_junior).astype(np.float32),
                    behavior_logprobs=rollout.logprobs,
                    advantage=float(advantage),
                    fresh=version is None or bool((rollout.weight_versions[senior] == version).all()),
                )
            )
    return samples


def split_mini_batches(groups: Sequence[Sequence[Sample]], count: int, order: str, seed: Sequence[int]) -> list[list[Sample]]:
    """Return up to `count` mini-batches: of single samples, `shuffled` by `seed`, or of whole groups in order (`prompts`).

    Their numbers of samples or groups differ by at most one. There are no more mini-batches than samples or groups, and none
    without a scored token; if the junior wrote a small step alone, there are none.
    """
    if order == "prompts":
        units = groups
    else:
        samples = [sample for group in groups for sample in group]
        units = [[samples[i]] for i in np.random.default_rng(seed).permutation(len(samples))]
    parts = np.array_split(np.arange(len(units)), min(count, len(units)))
    mini_batches = [[sample for i in part for sample in units[i]] for part in parts]
    return [part for part in mini_batches if any(sample.weights.any() or sample.junior_weights.any() for sample in part)]


def split_ranks(samples: Sequence[Sample], ranks: int) -> list[list[Sample]]:
    """Distribute the samples to `ranks` ranks, longest first, each to the rank with the fewest tokens so far."""
    parts: list[list[Sample]] = [[] for _ in range(ranks)]
    tokens = [0] * ranks
    for sample in sorted(samples, key=len, reverse=True):
        rank = tokens.index(min(tokens))
        parts[rank].append(sample)
        tokens[rank] += len(sample)
    return parts


def collate(samples: Sequence[Sample]) -> MicroBatch:
    """Return the samples as one micro-batch; without samples one token of padding that is not scored."""
    length = max((len(sample) for sample in samples), default=1)
    input_ids = np.zeros((max(len(samples), 1), length), np.int64)
    empty = np.zeros(0, np.int64)
    positions, targets, logprobs, advantages, weights, junior_weights, rollout, senior, fresh = ([empty] for _ in range(9))
    for row, sample in enumerate(samples):
        input_ids[row, : len(sample)] = sample.token_ids[:-1]
        scored = np.flatnonzero((sample.weights != 0) | (sample.junior_weights != 0))
        positions.append(row * length + sample.prompt_tokens - 1 + scored)
        targets.append(sample.token_ids[sample.prompt_tokens + scored])
        logprobs.append(sample.behavior_logprobs[scored])
        advantages.append(np.full(len(scored), sample.advantage))
        weights.append(sample.weights[scored])
        junior_weights.append(sample.junior_weights[scored])
        rollout.append(np.full(len(scored), row))
        senior.append(sample.senior[scored])
        fresh.append(sample.senior[scored] if sample.fresh else np.zeros(len(scored), bool))

    def tensor(parts: list[np.ndarray], dtype: torch.dtype) -> Tensor:
        return torch.from_numpy(np.concatenate(parts)).to(dtype)

    return MicroBatch(
        input_ids=torch.from_numpy(input_ids),
        positions=tensor(positions, torch.int64),
        targets=tensor(targets, torch.int64),
        behavior_logprobs=tensor(logprobs, torch.float32),
        old_logprobs=tensor(logprobs, torch.float32),
        advantages=tensor(advantages, torch.float32),
        coefficients=tensor(weights, torch.float32),
        junior_coefficients=tensor(junior_weights, torch.float32),
        rollout=tensor(rollout, torch.int64),
        senior=tensor(senior, torch.bool),
        fresh=tensor(fresh, torch.bool),
        real_tokens=sum(len(sample) for sample in samples),
    )


def split_micro_batches(mini_batch: Sequence[Sample], ranks: int, max_tokens: int) -> list[list[Sample]]:
    """Return the micro-batches of a mini-batch: `result[rank::ranks]` are those of `rank`.

    Every rank gets equally many, some of them empty if necessary, because ZeRO's collectives must match.
    """
    shares = split_ranks(mini_batch, ranks)
    parts = [[[share[i] for i in bucket] for bucket in buckets(list(map(len, share)), max_tokens)] for share in shares]
    return [micro_batch for of_ranks in zip_longest(*parts, fillvalue=[]) for micro_batch in of_ranks]


def apply_aggregation(
    mini_batches: Sequence[Sequence[Sequence[Sample]]], aggregation: str, max_tokens: int
) -> list[list[list[Sample]]]:
    """Return the micro-batches of a step's mini-batches with coefficients instead of weights, as `aggregation` defines them.

    The loss of a mini-batch is then a sum over its tokens. `max_tokens` is the longest possible rollout.
    """

    def of(weights: Callable[[Sample], np.ndarray]) -> list[list[list[np.ndarray]]]:
        rollouts = [[list(map(weights, micro_batch)) for micro_batch in mini_batch] for mini_batch in mini_batches]
        return coefficients(rollouts, aggregation, max_tokens)

    policy, junior = of(attrgetter("weights")), of(attrgetter("junior_weights"))
    return [
        [
            [
                replace(sample, weights=weights.astype(np.float32), junior_weights=junior_weights.astype(np.float32))
                for sample, weights, junior_weights in zip(*of_micro_batch, strict=True)
            ]
            for of_micro_batch in zip(*of_mini_batch, strict=True)
        ]
        for of_mini_batch in zip(mini_batches, policy, junior, strict=True)
    ]
