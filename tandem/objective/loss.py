"""The whole loss of a micro-batch: the policy loss on the senior's tokens and the Kullback-Leibler terms that may be added."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from tandem.objective.kl import ESTIMATORS, towards_junior
from tandem.objective.numerics import replaced
from tandem.objective.policy_loss import POLICY_LOSSES, Tokens

if TYPE_CHECKING:
    from tandem.batching import MicroBatch
    from tandem.config import AlgoConfig


def micro_batch_loss(logprobs: Tensor, batch: MicroBatch, algo: AlgoConfig) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss (a scalar) of `batch`, for whose scored tokens the policy says `logprobs` [N]; they carry the gradient.

    The losses of a mini-batch's micro-batches and ranks add up. So do the statistics: `policy_loss`; over the senior's tokens
    that have a coefficient `tokens` (their number), `ratio` (the importance ratio) and `clipped` (1 where the clip decides);
    with `algo.kl_coef` and `algo.lambda_junior` the terms `kl_reference` and `kl_junior`, without these factors. A token
    without a coefficient cannot reach the loss or its gradient, whatever its values, infinities and NaN included.
    """
    live = batch.coefficients > 0
    tokens = Tokens(
        logprobs=replaced(logprobs, live),
        old_logprobs=replaced(batch.old_logprobs, live),
        advantages=replaced(batch.advantages, live),
        coefficients=batch.coefficients,
        rollout=batch.rollout,
        senior=batch.senior,
    )
    policy = POLICY_LOSSES[algo.policy_loss](tokens, algo.clip_low, algo.clip_high)
    total = (policy.loss * batch.coefficients).sum()
    counted = live & batch.senior
    stats = {
        "policy_loss": total,
        "tokens": counted.sum(),
        "ratio": policy.ratio[counted].sum(),
        "clipped": policy.clipped[counted].sum(),
    }
    if algo.kl_coef:
        assert batch.reference_logprobs is not None
        kl = ESTIMATORS[algo.kl_estimator](replaced(logprobs, counted), replaced(batch.reference_logprobs, counted))
        stats["kl_reference"] = (kl * replaced(batch.coefficients, counted)).sum()
        total = total + algo.kl_coef * stats["kl_reference"]
    if algo.lambda_junior:
        imitated = batch.junior_coefficients > 0
        kl = towards_junior(replaced(logprobs, imitated), replaced(batch.behaviour_logprobs, imitated))
        stats["kl_junior"] = (kl * batch.junior_coefficients).sum()
        total = total + algo.lambda_junior * stats["kl_junior"]
    return total, {name: value.detach().to(torch.float64) for name, value in stats.items()}
