"""How much each token counts in a mini-batch's loss.

A loss is the sum of its tokens' losses times coefficients that are fixed before any token passes through the model. So
micro-batches and ranks add up by construction. To add a way, write the function and name it in `AGGREGATIONS`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Step:
    """What an aggregation may know beyond the mini-batch."""

    weight: float
    """sum of the weights of all tokens of the training step"""
    mini_batches: int
    """optimizer steps that the training step has"""
    max_tokens: int
    """the longest that a rollout may be"""


def token_mean(totals: np.ndarray, step: Step) -> np.ndarray:
    """The mean over the mini-batch's tokens, as in the published runs."""
    return np.full(len(totals), 1 / totals.sum())


def sequence_mean(totals: np.ndarray, step: Step) -> np.ndarray:
    """The mean over the rollouts of each one's mean (GRPO's, arXiv 2402.03300, eq. 3); one without weight is left out."""
    written = totals > 0
    return np.where(written, 1 / np.where(written, totals, 1.0), 0.0) / written.sum()


def global_token_mean(totals: np.ndarray, step: Step) -> np.ndarray:
    """DAPO's (arXiv 2503.14476, eq. 8): every token of the step counts the same, in whichever mini-batch it is."""
    return np.full(len(totals), step.mini_batches / step.weight)


def constant(totals: np.ndarray, step: Step) -> np.ndarray:
    """Dr. GRPO's (arXiv 2503.20783): over the longest that all rollouts could be, a constant, so that no length is favoured."""
    return np.full(len(totals), 1 / (len(totals) * step.max_tokens))


AGGREGATIONS: dict[str, Callable[[np.ndarray, Step], np.ndarray]] = {
    "token": token_mean,
    "sequence": sequence_mean,
    "global_token": global_token_mean,
    "constant": constant,
}
"""By their name in `algo.aggregation`: from rollouts' total weights float64 [R] to the factors [R] of their weights."""


def coefficients(weights: Sequence[Sequence[np.ndarray]], name: str, max_tokens: int) -> list[list[np.ndarray]]:
    """The coefficients float64 [T] of the tokens of each mini-batch's rollouts, from their weights [T]; all zero in a
    mini-batch where no token has one.
    """
    totals = [np.array([rollout.sum(dtype=np.float64) for rollout in part]) for part in weights]
    step = Step(weight=sum(float(each.sum()) for each in totals), mini_batches=len(weights), max_tokens=max_tokens)
    scales = [AGGREGATIONS[name](each, step) if each.any() else np.zeros(len(each)) for each in totals]
    return [
        [rollout * scale for rollout, scale in zip(part, of_part, strict=True)]
        for part, of_part in zip(weights, scales, strict=True)
    ]
