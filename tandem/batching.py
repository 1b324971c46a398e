"""From rollouts to what passes through the model at a time: step -> mini-batches -> ranks -> micro-batches.

Everything here is a pure function of its arguments, so that every rank plans the whole step by itself and all plans agree.

Micro-batches are padded on the right, and no attention mask is needed: attention is causal, so no real token sees the padding
behind it, and the padding's own outputs are never looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tandem.aggregation import coefficients
from tandem.bucketing import buckets
from tandem.rollout import SENIOR, Group


@dataclass(frozen=True)
class Sample:
    """One rollout as the loss sees it: P prompt tokens, then T completion tokens.

    A completion token is *scored*, that is, enters the loss, if one of its weights is not zero.
    """

    token_ids: np.ndarray
    """int64 [P + T]"""
    senior: np.ndarray
    """bool [T], whether the senior wrote the token"""
    weights: np.ndarray
    """float [T], in the policy loss: 1 for the senior's tokens, junior_token_loss_weight for the junior's; in a plan what an
    aggregation has made of these"""
    junior_weights: np.ndarray
    """float [T], in the Kullback-Leibler term towards the junior: 1 for the junior's tokens if there is one, else 0; in a plan
    likewise"""
    behaviour_logprobs: np.ndarray
    """float32 [T], of the engine that wrote the token"""
    advantage: float
    fresh: bool = True
    """whether all that the senior wrote was sampled from the weights that are about to learn"""

    def __len__(self) -> int:
        """Tokens that pass through the model: the last one has no successor to predict."""
        return len(self.token_ids) - 1

    @property
    def prompt_tokens(self) -> int:
        """P"""
        return len(self.token_ids) - len(self.weights)


@dataclass(frozen=True)
class MicroBatch:
    """B samples of at most L tokens, and the N scored tokens among their successors."""

    input_ids: Tensor
    """int64 [B, L], padded on the right with 0"""
    positions: Tensor
    """int64 [N], where in the flattened [B * L] the model predicts each scored token"""
    targets: Tensor
    """int64 [N], the scored tokens"""
    behaviour_logprobs: Tensor
    """float32 [N], of the engines that wrote them"""
    old_logprobs: Tensor
    """float32 [N], the importance ratio's denominator; the behaviour log-probabilities unless they are recomputed"""
    advantages: Tensor
    """float32 [N]"""
    coefficients: Tensor
    """float32 [N], how much each counts in the policy loss of its mini-batch"""
    junior_coefficients: Tensor
    """float32 [N], how much each counts in the Kullback-Leibler term towards the junior"""
    rollout: Tensor
    """int64 [N], the row of `input_ids`"""
    senior: Tensor
    """bool [N]"""
    fresh: Tensor
    """bool [N], the senior's tokens in samples that are fresh: engine and learner must agree on their log-probabilities"""
    real_tokens: int
    """tokens of `input_ids` that are not padding"""
    reference_logprobs: Tensor | None = None
    """float32 [N], of the frozen reference, where a coefficient needs them"""

    @property
    def padded_tokens(self) -> int:
        """B * L"""
        return self.input_ids.numel()

    def to(self, device: torch.device | str) -> MicroBatch:
        """The same micro-batch on `device`."""
        moved: dict[str, Any] = {name: value.to(device) for name, value in vars(self).items() if isinstance(value, Tensor)}
        return replace(self, **moved)


MiniBatch = tuple[MicroBatch, ...]
"""What one rank contributes to one optimizer step; as many on every rank."""


def to_samples(
    groups: Iterable[Group], junior_token_loss_weight: float, *, imitate_junior: bool = False, version: int | None = None
) -> list[Sample]:
    """All rollouts of `groups`, in order; the weights that are about to learn are of `version` (None: that which wrote them).

    The junior's tokens have weight in the policy loss, and with `imitate_junior` in the term towards the junior. Raises
    `ValueError` for a rollout whose arrays do not fit its tokens, and for a group without its advantages.
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
                    token_ids=np.concatenate([rollout.prompt_ids, rollout.token_ids]).astype(np.int64),
                    senior=senior,
                    weights=np.where(senior, 1.0, junior_token_loss_weight).astype(np.float32),
                    junior_weights=(~senior & imitate_junior).astype(np.float32),
                    behaviour_logprobs=rollout.logprobs,
                    advantage=float(advantage),
                    fresh=version is None or bool((rollout.weight_versions[senior] == version).all()),
                )
            )
    return samples


def split_mini_batches(samples: Sequence[Sample], count: int, seed: Sequence[int]) -> list[list[Sample]]:
    """`count` mini-batches of whole samples, shuffled by `seed` so that every group spreads over them.

    They are equal, but where dropped groups leave a number that does not divide: then some have one sample more. With fewer
    samples than `count` each is a mini-batch. A mini-batch in which no token is scored is left out: it has nothing to learn
    from. That may leave none, when the junior wrote a small step alone.
    """
    order = np.random.default_rng(seed).permutation(len(samples))
    mini_batches = [[samples[i] for i in part] for part in np.array_split(order, min(count, len(samples)))]
    return [part for part in mini_batches if any(sample.weights.any() or sample.junior_weights.any() for sample in part)]


def split_ranks(samples: Sequence[Sample], ranks: int) -> list[list[Sample]]:
    """The samples dealt to `ranks` ranks, longest first, each to the rank with the fewest tokens so far."""
    parts: list[list[Sample]] = [[] for _ in range(ranks)]
    tokens = [0] * ranks
    for sample in sorted(samples, key=len, reverse=True):
        rank = tokens.index(min(tokens))
        parts[rank].append(sample)
        tokens[rank] += len(sample)
    return parts


def collate(samples: Sequence[Sample]) -> MicroBatch:
    """The samples as one micro-batch; without any, a single token of padding that nothing is learnt from."""
    length = max((len(sample) for sample in samples), default=1)
    input_ids = np.zeros((max(len(samples), 1), length), np.int64)
    empty = np.zeros(0, np.int64)
    positions, targets, logprobs, advantages, weights, junior_weights, rollout, senior, fresh = ([empty] for _ in range(9))
    for row, sample in enumerate(samples):
        input_ids[row, : len(sample)] = sample.token_ids[:-1]
        scored = np.flatnonzero((sample.weights != 0) | (sample.junior_weights != 0))
        positions.append(row * length + sample.prompt_tokens - 1 + scored)
        targets.append(sample.token_ids[sample.prompt_tokens + scored])
        logprobs.append(sample.behaviour_logprobs[scored])
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
        behaviour_logprobs=tensor(logprobs, torch.float32),
        old_logprobs=tensor(logprobs, torch.float32),
        advantages=tensor(advantages, torch.float32),
        coefficients=tensor(weights, torch.float32),
        junior_coefficients=tensor(junior_weights, torch.float32),
        rollout=tensor(rollout, torch.int64),
        senior=tensor(senior, torch.bool),
        fresh=tensor(fresh, torch.bool),
        real_tokens=sum(len(sample) for sample in samples),
    )


def weighed(mini_batches: Sequence[Sequence[Sample]], aggregation: str, max_tokens: int) -> list[list[Sample]]:
    """A step's mini-batches with coefficients for weights: then a sum over a mini-batch's tokens is the mean that is asked for.

    `max_tokens` is the longest that a rollout may be.
    """
    policy = coefficients([[sample.weights for sample in part] for part in mini_batches], aggregation, max_tokens)
    junior = coefficients([[sample.junior_weights for sample in part] for part in mini_batches], aggregation, max_tokens)
    return [
        [replace(sample, weights=own, junior_weights=its) for sample, own, its in zip(*together, strict=True)]
        for together in zip(mini_batches, policy, junior, strict=True)
    ]


def plan_rank(mini_batch: Sequence[Sample], *, rank: int, ranks: int, max_tokens: int) -> MiniBatch:
    """The share of `rank` in a mini-batch.

    Every rank gets as many micro-batches, empty ones where need be: ZeRO's collectives must line up.
    """
    shares = split_ranks(mini_batch, ranks)
    parts = [[[share[i] for i in bucket] for bucket in buckets(list(map(len, share)), max_tokens)] for share in shares]
    count = max(len(part) for part in parts)
    mine = parts[rank] + [[]] * (count - len(parts[rank]))
    return tuple(collate(part) for part in mine)
