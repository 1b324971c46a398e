"""What a step's update says of itself: sums over tokens, which add up over micro-batches and ranks, and metrics of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from tandem.batching import MicroBatch

LOSSES = {"loss/policy": "policy_loss", "loss/kl_reference": "kl_reference", "loss/kl_junior": "kl_junior"}
"""The metrics that are means over the optimizer steps, by the names of the sums."""
MEANS = {
    "policy/clip_fraction": ("clipped", "tokens"),
    "policy/ratio_mean": ("ratio", "tokens"),
    "policy/entropy": ("entropy", "senior"),
    "logprob/gap_mean": ("gap", "gap_tokens"),
    "mismatch/weight_mean": ("correction", "corrected"),
    "mismatch/masked_fraction": ("masked", "corrected"),
    "learner/useful_token_fraction": ("real", "padded"),
}
"""The metrics that are means over tokens, by the names of the sum and of the number of tokens it is over.

Clip fraction and ratio are over the senior's tokens with a coefficient, which one that `algo.mismatch` masks has not; entropy
and the mismatch's own over all that the senior wrote; the gap over what it wrote with the weights that are about to learn.
"""


def gap(batch: MicroBatch, logprobs: Tensor) -> dict[str, Tensor]:
    """Return how far the policy's `logprobs` [N] are from those that are to be the same, summed over the fresh tokens, and the
    number of these."""
    differences = (batch.old_logprobs - logprobs.detach()).abs()[batch.fresh]
    return {"gap": differences.sum(), "gap_tokens": batch.fresh.sum()}


def step_metrics(sums: Mapping[str, float], mini_batches: int) -> dict[str, float]:
    """Return the metrics that a step's `sums` make, over all micro-batches of its `mini_batches` optimizer steps and all ranks.

    A mean over no tokens is left out, as is what was not summed; without an optimizer step the policy's loss is 0.
    """
    losses = {name: sums[total] / mini_batches for name, total in LOSSES.items() if total in sums}
    means = {name: sums[total] / sums[count] for name, (total, count) in MEANS.items() if sums.get(count)}
    return {"loss/policy": 0.0, "learner/tokens": sums.get("real", 0.0)} | losses | means
