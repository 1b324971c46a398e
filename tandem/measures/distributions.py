"""Measures of next-token distributions: cross-entropy, divergence and acceptance."""

from __future__ import annotations

import torch
from torch import Tensor

from tandem.config.rollout import SamplingConfig


def cross_entropies(logits: Tensor, targets: Tensor) -> Tensor:
    """Return -log p(target) in nats, float32 [N], under softmax(logits [N, V]) for `targets` [N]."""
    return torch.nn.functional.cross_entropy(logits.float(), targets, reduction="none")


def divergences(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Return KL(first || second) and KL(second || first) in nats, float32 [N], of softmax(logits [N, V]).

    If one model has more outputs than the other, only the tokens of both are used.
    """
    common = min(first.shape[1], second.shape[1])
    p, q = (logits[:, :common].float().log_softmax(-1) for logits in (first, second))
    difference = p - q
    return (p.exp() * difference).sum(-1), -(q.exp() * difference).sum(-1)


def sampling_distribution(logits: Tensor, temperature: float, top_k: int = 0, top_p: float = 1.0) -> Tensor:
    """Return the probabilities, float32 [N, V], from which an engine samples a token for `logits` [N, V].

    `top_k=0` keeps all tokens. At temperature 0 the likeliest token has all the probability.
    """
    if temperature == 0:
        return torch.nn.functional.one_hot(logits.argmax(-1), logits.shape[1]).float()
    scaled = logits.float() / temperature
    if 0 < top_k < scaled.shape[1]:
        scaled = scaled.masked_fill(scaled < scaled.topk(top_k).values[:, -1:], -torch.inf)
    probabilities = scaled.softmax(-1)
    if top_p < 1:
        ordered, tokens = probabilities.sort(descending=True)
        nucleus = ordered * (ordered.cumsum(-1) - ordered < top_p)
        probabilities = torch.zeros_like(ordered).scatter(1, tokens, nucleus / nucleus.sum(-1, keepdim=True))
    return probabilities


def acceptances(target: Tensor, draft: Tensor, tokens: Tensor, sampling: SamplingConfig) -> tuple[Tensor, Tensor]:
    """Return the acceptance of speculative decoding for the logits [N, V] of the target and the draft model, float32 [N].

    First the probability that a drafted token is accepted, sum(min(p, q)); then the probability that each of `tokens` [N],
    which the target emitted, was an accepted draft: min(1, q / p) of that token. p is the target's distribution under
    `sampling`, q the draft model's at the same temperature: like vLLM's, a draft ignores top-k and top-p.
    """
    common = min(target.shape[1], draft.shape[1])
    p = sampling_distribution(target[:, :common], sampling.temperature, sampling.top_k, sampling.top_p)
    q = sampling_distribution(draft[:, :common], sampling.temperature)
    emitted, drafted = (each.gather(1, tokens[:, None])[:, 0] for each in (p, q))
    return torch.minimum(p, q).sum(-1), (drafted / emitted.clamp_min(torch.finfo(p.dtype).tiny)).clamp_max(1.0)
