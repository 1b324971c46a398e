"""The loss of a micro-batch: a policy loss on the counted tokens, Kullback-Leibler terms, and corrections of the mismatch
between engine and learner.

To add one, write the function and name it in `POLICY_LOSSES`, `KL_ESTIMATORS` or `CORRECTIONS`. It may rely on finite inputs:
tokens that do not count are replaced by zeros before it sees them, and have a coefficient of zero.

Shapes: N tokens of a micro-batch's rollouts, float [N] unless another type is given.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from tandem.batching import MicroBatch
    from tandem.config.algo import AlgoConfig


def micro_batch_loss(logprobs: Tensor, batch: MicroBatch, algo: AlgoConfig) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the loss (a scalar) of `batch` and sums for the metrics. `logprobs` [N] are the policy's, with the gradient.

    Losses and sums of a mini-batch's micro-batches and ranks add up. The sums are:

    - `policy_loss`
    - `tokens`, `ratio`, `clipped`: over the senior's tokens with a coefficient, their number, their importance ratios, and 1
      where the clip is active
    - `kl_reference`, `kl_junior`: the terms of `algo.kl_coef` and `algo.lambda_junior`, without these factors

    A token without a coefficient does not affect the loss or its gradient, even if its values are infinite or NaN.
    """
    live = batch.coefficients > 0
    tokens = PolicyTokens(
        logprobs=replaced(logprobs, live),
        old_logprobs=replaced(batch.old_logprobs, live),
        advantages=replaced(batch.advantages, live),
        coefficients=batch.coefficients,
        rollout=batch.rollout,
        senior=batch.senior,
    )
    policy = POLICY_LOSSES[algo.policy_loss](tokens, algo)
    total = (policy.loss * batch.coefficients).sum()
    senior_live = live & batch.senior
    stats = {
        "policy_loss": total,
        "tokens": senior_live.sum(),
        "ratio": policy.ratio[senior_live].sum(),
        "clipped": policy.clipped[senior_live].sum(),
    }
    if algo.kl_coef:
        assert batch.reference_logprobs is not None
        kl = KL_ESTIMATORS[algo.kl_estimator](replaced(logprobs, senior_live), replaced(batch.reference_logprobs, senior_live))
        stats["kl_reference"] = (kl * replaced(batch.coefficients, senior_live)).sum()
        total = total + algo.kl_coef * stats["kl_reference"]
    if algo.lambda_junior:
        imitated = batch.junior_coefficients > 0
        kl = towards_junior(replaced(logprobs, imitated), replaced(batch.behavior_logprobs, imitated))
        stats["kl_junior"] = (kl * batch.junior_coefficients).sum()
        total = total + algo.lambda_junior * stats["kl_junior"]
    return total, {name: value.detach().to(torch.float64) for name, value in stats.items()}


@dataclass(frozen=True)
class PolicyTokens:
    """N tokens of some rollouts; `logprobs` carries the gradient."""

    logprobs: Tensor
    """float [N], of the policy"""
    old_logprobs: Tensor
    """float [N], denominator of the ratio: the engine's, or the learner's before the update (`algo.old_logprobs`)"""
    advantages: Tensor
    """float [N]"""
    coefficients: Tensor
    """float [N], the weight in the loss; 0: not counted"""
    rollout: Tensor
    """int64 [N], the rollout of each token; all tokens of a rollout are in the batch"""
    senior: Tensor
    """bool [N], whether the senior wrote the token"""


@dataclass(frozen=True)
class TokenLosses:
    """Losses of N tokens."""

    loss: Tensor
    """float [N], with the gradient"""
    ratio: Tensor
    """float [N], the importance ratio"""
    clipped: Tensor
    """bool [N], where the clip is active"""


def clip(tokens: PolicyTokens, algo: AlgoConfig) -> TokenLosses:
    """Return PPO's clipped surrogate (arXiv 1707.06347), as in GRPO (arXiv 2402.03300), with DAPO's separate bounds
    (arXiv 2503.14476).
    """
    return _clipped_surrogate(bounded_exp(tokens.logprobs - tokens.old_logprobs), tokens.advantages, algo)


def gspo(tokens: PolicyTokens, algo: AlgoConfig) -> TokenLosses:
    """Return GSPO's surrogate (arXiv 2507.18071, eq. 5-7): the tokens of a rollout share the geometric mean of their ratios.

    The mean is over the senior's counted tokens, weighted by their coefficients. Counted tokens of the junior share their own
    mean: they were sampled from another model, and one ratio for both authors would clip the senior's tokens because of it.
    """
    part = 2 * tokens.rollout + tokens.senior
    log_ratio = mean_by_part(tokens.logprobs - tokens.old_logprobs, tokens.coefficients, part)
    return _clipped_surrogate(bounded_exp(log_ratio), tokens.advantages, algo)


def cispo(tokens: PolicyTokens, algo: AlgoConfig) -> TokenLosses:
    """Return CISPO's loss (MiniMax-M1, arXiv 2506.13585, eq. 4-5): REINFORCE times the clipped ratio, so no gradient vanishes.

    The paper bounds the ratio from above only: `algo.clip_low=1`.
    """
    ratio = bounded_exp(tokens.logprobs - tokens.old_logprobs).detach()
    bounded = ratio.clamp(1 - algo.clip_low, 1 + algo.clip_high)
    return TokenLosses(-bounded * tokens.advantages * tokens.logprobs, ratio, bounded != ratio)


POLICY_LOSSES: dict[str, Callable[[PolicyTokens, AlgoConfig], TokenLosses]] = {"clip": clip, "gspo": gspo, "cispo": cispo}
"""Policy losses by name (`algo.policy_loss`)."""


def _clipped_surrogate(ratio: Tensor, advantages: Tensor, algo: AlgoConfig) -> TokenLosses:
    """Return the surrogate with the bounds `algo.clip_low` and `algo.clip_high`, and the dual clip (arXiv 1912.09729)."""
    free = -advantages * ratio
    clipped = -advantages * ratio.clamp(1 - algo.clip_low, 1 + algo.clip_high)
    loss, active = torch.maximum(free, clipped), clipped > free
    if algo.dual_clip:
        largest = -advantages * algo.dual_clip
        capped = (advantages < 0) & (loss > largest)
        loss, active = torch.where(capped, largest, loss), active | capped
    return TokenLosses(loss, ratio, active)


def k1(logprobs: Tensor, reference: Tensor) -> Tensor:
    """Return log p - log r, [N]: an unbiased estimate. As a loss it has no effect: its expected gradient is zero."""
    return logprobs - reference


def k2(logprobs: Tensor, reference: Tensor) -> Tensor:
    """Return (log p - log r)^2 / 2, [N]: a biased estimate whose expected gradient is that of KL(p || r)."""
    return (logprobs - reference).square() / 2


def k3(logprobs: Tensor, reference: Tensor) -> Tensor:
    """Return r/p - 1 - log(r/p), [N]: unbiased and never negative, as in GRPO (arXiv 2402.03300, eq. 4). Its expected gradient
    is that of KL(r || p).
    """
    log_ratio = (reference - logprobs).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)
    return log_ratio.exp() - 1 - log_ratio


MAX_K3 = 10.0
"""The limit of verl's estimator `low_var_kl`, with which the published control was trained."""


def k3_clamped(logprobs: Tensor, reference: Tensor) -> Tensor:
    """Return k3, at most `MAX_K3`, [N]. A token at the limit has no gradient."""
    return k3(logprobs, reference).clamp(max=MAX_K3)


KL_ESTIMATORS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"k1": k1, "k2": k2, "k3": k3, "k3_clamped": k3_clamped}
"""Estimators of KL(policy || reference) by name (`algo.kl_estimator`), from J. Schulman, "Approximating KL Divergence"."""


def towards_junior(logprobs: Tensor, junior_logprobs: Tensor) -> Tensor:
    """Return log q - log p, [N], at tokens that the junior q sampled: an unbiased estimate of KL(q || p) with an unbiased
    gradient, that of imitating the junior's tokens.
    """
    return junior_logprobs - logprobs


def truncated(log_ratio: Tensor, rollout: Tensor, low: float, high: float) -> Tensor:
    """Return min(w, high), [N]: truncated importance sampling (F. Yao et al., 2025, "Your efficient RL framework secretly
    brings you off-policy RL training"). `low` is not used.
    """
    return bounded_exp(log_ratio).clamp(max=high)


def masked_band(log_ratio: Tensor, rollout: Tensor, low: float, high: float) -> Tensor:
    """Return w within [low, high], else 0, [N]: IcePop (Ling team, 2025; arXiv 2510.18855)."""
    ratio = bounded_exp(log_ratio)
    return torch.where((ratio >= low) & (ratio <= high), ratio, 0.0)


def sequence_mask(log_ratio: Tensor, rollout: Tensor, low: float, high: float) -> Tensor:
    """Return 1 for all tokens of a rollout if the geometric mean of their w is within [low, high], else 0, [N]."""
    ratio = bounded_exp(mean_by_part(log_ratio, torch.ones_like(log_ratio), rollout))
    return ((ratio >= low) & (ratio <= high)).to(log_ratio.dtype)


CORRECTIONS: dict[str, Callable[[Tensor, Tensor, float, float], Tensor]] = {
    "tis": truncated,
    "icepop": masked_band,
    "sequence_mask": sequence_mask,
}
"""Corrections by name (`algo.mismatch`): from log w [N], the rollouts of the tokens [N] and two bounds to factors [N].

w = exp(old - mu), where mu are the engine's log-probabilities at sampling and `old` the learner's before the update. Only the
senior's tokens are corrected.
"""


def corrected(batch: MicroBatch, algo: AlgoConfig) -> tuple[MicroBatch, dict[str, Tensor]]:
    """Return the micro-batch with `algo.mismatch` in the coefficients of the senior's tokens, and sums for the metrics.

    The sums are the number of `corrected` tokens, the `correction` (sum of their factors) and the number of `masked` tokens,
    whose factor is 0.
    """
    senior = batch.senior
    log_ratio = (batch.old_logprobs - batch.behavior_logprobs)[senior]
    factors = CORRECTIONS[algo.mismatch](log_ratio, batch.rollout[senior], algo.mismatch_low, algo.mismatch_high)
    coefficients = batch.coefficients.clone()
    coefficients[senior] *= factors
    stats = {"correction": factors.sum(), "masked": (factors == 0).sum(), "corrected": senior.sum()}
    return replace(batch, coefficients=coefficients), stats


def gap(batch: MicroBatch, logprobs: Tensor) -> dict[str, Tensor]:
    """Return the sum of |old - policy| log-probabilities and the number of tokens, over the senior's fresh tokens and over its
    other ones (`stale`).
    """
    differences, stale = (batch.old_logprobs - logprobs.detach()).abs(), batch.senior & ~batch.fresh
    return {
        "gap": differences[batch.fresh].sum(),
        "gap_tokens": batch.fresh.sum(),
        "stale_gap": differences[stale].sum(),
        "stale_gap_tokens": stale.sum(),
    }


MAX_LOG_RATIO = 20.0
"""Limit of log ratios: exp() may overflow beyond it, and the zero gradient of a clipped token would become 0 * inf."""


def bounded_exp(log_ratio: Tensor) -> Tensor:
    """Return exp(log_ratio), limited to [exp(-MAX_LOG_RATIO), exp(MAX_LOG_RATIO)]."""
    return log_ratio.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp()


def replaced(values: Tensor, live: Tensor) -> Tensor:
    """Return `values` with zeros where not `live`. Multiplying by 0 would keep infinities and NaN."""
    return torch.where(live, values, 0.0)


def mean_by_part(values: Tensor, weights: Tensor, part: Tensor) -> Tensor:
    """Return for each token the weighted mean of `values` [N] over its part (int64 [N]); 0 where a part has no weight."""
    parts = int(part.max()) + 1 if len(part) else 0
    totals = weights.new_zeros(parts).index_add(0, part, weights)
    sums = values.new_zeros(parts).index_add(0, part, values * weights)
    return (sums / torch.where(totals > 0, totals, 1.0))[part]
