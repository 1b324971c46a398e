"""Aggregation of token losses: the coefficient of each token in the loss of its mini-batch.

Coefficients are fixed before the forward pass, so the losses of micro-batches and ranks add up. To add an aggregation, write
the function and name it in `AGGREGATIONS`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

Rollouts = Sequence[np.ndarray]
"""The weights of the tokens of some rollouts, a float array [T] each."""


@dataclass(frozen=True)
class MiniBatchTotals:
    """Totals of the R rollouts of a mini-batch."""

    weights: np.ndarray
    """float64 [R], sum of the weights of each rollout's tokens; not all 0"""
    tokens: np.ndarray
    """int64 [R], number of tokens of each rollout, by both authors"""
    micro_batches: np.ndarray
    """int64 [R], the micro-batch of each rollout, over all ranks"""


@dataclass(frozen=True)
class StepTotals:
    """Totals of the training step that an aggregation may use."""

    weight: float
    """sum of the weights of all tokens of the step"""
    mini_batches: int
    """number of optimizer steps"""
    max_tokens: int
    """longest possible rollout"""


def token_mean(totals: MiniBatchTotals, step: StepTotals) -> np.ndarray:
    """Return factors for the mean over the mini-batch's weighted tokens: by default, those of the senior."""
    return np.full(len(totals.weights), 1 / totals.weights.sum())


def response_token_mean(totals: MiniBatchTotals, step: StepTotals) -> np.ndarray:
    """Return factors that divide by all tokens of the mini-batch's rollouts, the junior's included, as in the published code of
    arXiv 2606.28166.
    """
    return np.full(len(totals.weights), 1 / totals.tokens.sum())


def micro_batch_mean(totals: MiniBatchTotals, step: StepTotals) -> np.ndarray:
    """Return factors for the means over the weighted tokens of each micro-batch, averaged in proportion to its rollouts, as in
    the code that preceded the published one.
    """
    weights = np.bincount(totals.micro_batches, totals.weights)
    factors = np.bincount(totals.micro_batches) / np.where(weights > 0, weights, np.inf)
    return factors[totals.micro_batches] / len(totals.weights)


def sequence_mean(totals: MiniBatchTotals, step: StepTotals) -> np.ndarray:
    """Return factors for the mean over rollouts of their means (GRPO, arXiv 2402.03300, eq. 3), without empty rollouts."""
    nonempty = totals.weights > 0
    return np.where(nonempty, 1 / np.where(nonempty, totals.weights, 1.0), 0.0) / nonempty.sum()


def global_token_mean(totals: MiniBatchTotals, step: StepTotals) -> np.ndarray:
    """Return factors by which every token of the step has the same weight (DAPO, arXiv 2503.14476, eq. 8)."""
    return np.full(len(totals.weights), step.mini_batches / step.weight)


def constant(totals: MiniBatchTotals, step: StepTotals) -> np.ndarray:
    """Return the constant factor 1 / (rollouts x longest rollout), which favors no length (Dr. GRPO, arXiv 2503.20783)."""
    return np.full(len(totals.weights), 1 / (len(totals.weights) * step.max_tokens))


AGGREGATIONS: dict[str, Callable[[MiniBatchTotals, StepTotals], np.ndarray]] = {
    "token": token_mean,
    "response_token": response_token_mean,
    "micro_batch": micro_batch_mean,
    "sequence": sequence_mean,
    "global_token": global_token_mean,
    "constant": constant,
}
"""Aggregations by name (`algo.aggregation`): from the totals of R rollouts to factors [R]."""


def coefficients(mini_batches: Sequence[Sequence[Rollouts]], name: str, max_tokens: int) -> list[list[list[np.ndarray]]]:
    """Return the coefficients float64 [T] of each rollout's tokens in each micro-batch of each mini-batch, from their weights.

    They are zero in a mini-batch without weights.
    """
    totals = [_totals(mini_batch) for mini_batch in mini_batches]
    weight = sum(float(each.weights.sum()) for each in totals)
    step = StepTotals(weight, mini_batches=len(mini_batches), max_tokens=max_tokens)
    result = []
    for mini_batch, each in zip(mini_batches, totals, strict=True):
        factors = iter(AGGREGATIONS[name](each, step) if each.weights.any() else np.zeros(len(each.weights)))
        result.append([[rollout * next(factors) for rollout in micro_batch] for micro_batch in mini_batch])
    return result


def _totals(mini_batch: Sequence[Rollouts]) -> MiniBatchTotals:
    rollouts = [rollout for micro_batch in mini_batch for rollout in micro_batch]
    return MiniBatchTotals(
        weights=np.array([rollout.sum(dtype=np.float64) for rollout in rollouts]),
        tokens=np.array([len(rollout) for rollout in rollouts], np.int64),
        micro_batches=np.repeat(np.arange(len(mini_batch)), [len(micro_batch) for micro_batch in mini_batch]),
    )
