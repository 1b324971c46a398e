"""Aggregation of token losses: the coefficient of each token in the loss of its mini-batch.

Coefficients are fixed before the forward pass, so the losses of micro-batches and ranks add up. To add an aggregation, write
the function and name it in `AGGREGATIONS`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class StepTotals:
    """Totals of the training step that an aggregation may use."""

    weight: float
    """sum of the weights of all tokens of the step"""
    mini_batches: int
    """number of optimizer steps"""
    max_tokens: int
    """longest possible rollout"""


def token_mean(totals: np.ndarray, step: StepTotals) -> np.ndarray:
    """Return factors for the mean over the mini-batch's tokens."""
    return np.full(len(totals), 1 / totals.sum())


def sequence_mean(totals: np.ndarray, step: StepTotals) -> np.ndarray:
    """Return factors for the mean over rollouts of their means (GRPO, arXiv 2402.03300, eq. 3), without empty rollouts."""
    written = totals > 0
    return np.where(written, 1 / np.where(written, totals, 1.0), 0.0) / written.sum()


def global_token_mean(totals: np.ndarray, step: StepTotals) -> np.ndarray:
    """Return factors by which every token of the step has the same weight (DAPO, arXiv 2503.14476, eq. 8)."""
    return np.full(len(totals), step.mini_batches / step.weight)


def constant(totals: np.ndarray, step: StepTotals) -> np.ndarray:
    """Return the constant factor 1 / (rollouts x longest rollout), which favors no length (Dr. GRPO, arXiv 2503.20783)."""
    return np.full(len(totals), 1 / (len(totals) * step.max_tokens))


AGGREGATIONS: dict[str, Callable[[np.ndarray, StepTotals], np.ndarray]] = {
    "token": token_mean,
    "sequence": sequence_mean,
    "global_token": global_token_mean,
    "constant": constant,
}
"""Aggregations by name (`algo.aggregation`): from the total weights of R rollouts, float64 [R], to factors [R]."""


def coefficients(weights: Sequence[Sequence[np.ndarray]], name: str, max_tokens: int) -> list[list[np.ndarray]]:
    """Return the coefficients float64 [T] of each rollout's tokens in each mini-batch, from their weights [T].

    They are zero in a mini-batch without weights.
    """
    totals = [np.array([rollout.sum(dtype=np.float64) for rollout in part]) for part in weights]
    step = StepTotals(weight=sum(float(each.sum()) for each in totals), mini_batches=len(weights), max_tokens=max_tokens)
    scales = [AGGREGATIONS[name](each, step) if each.any() else np.zeros(len(each)) for each in totals]
    return [
        [rollout * scale for rollout, scale in zip(part, of_part, strict=True)]
        for part, of_part in zip(weights, scales, strict=True)
    ]
