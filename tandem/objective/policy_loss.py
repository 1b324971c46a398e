"""Policy losses: what a token's importance ratio and advantage make of it.

To add one, write the function and name it in `POLICY_LOSSES`. It may rely on finite inputs: tokens that do not count are
replaced before it sees them, and have no coefficient.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from tandem.objective.numerics import bounded_exp, mean_by_part


@dataclass(frozen=True)
class Tokens:
    """N tokens of some rollouts; `logprobs` carries the gradient."""

    logprobs: Tensor
    """float [N], of the policy"""
    old_logprobs: Tensor
    """float [N], of the policy before the update"""
    advantages: Tensor
    """float [N]"""
    coefficients: Tensor
    """float [N], how much each counts in the loss; 0: not at all"""
    rollout: Tensor
    """int64 [N], which rollout each belongs to; all of a rollout's tokens are here"""
    senior: Tensor
    """bool [N], which of them the senior wrote"""


@dataclass(frozen=True)
class TokenLosses:
    """What a policy loss says of N tokens."""

    loss: Tensor
    """float [N], with the gradient"""
    ratio: Tensor
    """float [N], the importance ratio"""
    clipped: Tensor
    """bool [N], where the clip decides"""


def clip(tokens: Tokens, low: float, high: float) -> TokenLosses:
    """PPO's clipped surrogate (arXiv 1707.06347) as GRPO has it (arXiv 2402.03300), with bounds of their own below and above
    as in DAPO (arXiv 2503.14476).
    """
    return _clipped_surrogate(bounded_exp(tokens.logprobs - tokens.old_logprobs), tokens.advantages, low, high)


def gspo(tokens: Tokens, low: float, high: float) -> TokenLosses:
    """GSPO's surrogate (arXiv 2507.18071, eq. 5-7): all tokens of a rollout share one ratio, the geometric mean of theirs.

    The mean is over the senior's tokens that count, each as much as it counts. The junior's, where they count, share another
    ratio, the mean of theirs: they were sampled from the junior, from which the senior is far away before it learns anything,
    and one ratio for both authors would clip the senior's tokens for it.
    """
    part = 2 * tokens.rollout + tokens.senior
    log_ratio = mean_by_part(tokens.logprobs - tokens.old_logprobs, tokens.coefficients, part)
    return _clipped_surrogate(bounded_exp(log_ratio), tokens.advantages, low, high)


def cispo(tokens: Tokens, low: float, high: float) -> TokenLosses:
    """CISPO (MiniMax-M1, arXiv 2506.13585, eq. 4-5): REINFORCE times the clipped ratio, so that no token loses its gradient.

    The paper bounds the ratio from above only: low=1.
    """
    ratio = bounded_exp(tokens.logprobs - tokens.old_logprobs).detach()
    bounded = ratio.clamp(1 - low, 1 + high)
    return TokenLosses(-bounded * tokens.advantages * tokens.logprobs, ratio, bounded != ratio)


POLICY_LOSSES: dict[str, Callable[[Tokens, float, float], TokenLosses]] = {"clip": clip, "gspo": gspo, "cispo": cispo}
"""The policy losses by their name in `algo.policy_loss`; the numbers are `algo.clip_low` and `algo.clip_high`."""


def _clipped_surrogate(ratio: Tensor, advantages: Tensor, low: float, high: float) -> TokenLosses:
    free = -advantages * ratio
    clipped = -advantages * ratio.clamp(1 - low, 1 + high)
    return TokenLosses(torch.maximum(free, clipped), ratio, clipped > free)
