"""Legibility of one model's texts to another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from transformers import PreTrainedTokenizerBase

from tandem.measures.score import Score
from tandem.measures.scoring import ScoringModel, Text, token_cross_entropy, token_values
from tandem.rollout import EndReason, Group, Prompt, Rollout

Transcribe = Callable[[Prompt, Rollout], Text]


@dataclass(frozen=True)
class Pace:
    """Sizes of the computation."""

    batch_tokens: int
    """tokens that pass through a model at a time"""
    chunk_tokens: int
    """tokens whose logits exist at a time"""


def legibility_scores(
    junior: ScoringModel, seniors: Sequence[Group], juniors: Sequence[Group], transcribe: Transcribe, pace: Pace
) -> dict[str, Score]:
    """Return the junior's cross-entropy in nats per token on the senior's texts, and on its own texts for comparison.

    As in arXiv 2606.28166, it is the mean over problems of the mean over texts of the mean over tokens, without the
    end-of-sequence token. Under names that end in `_pooled` it is the mean over all tokens. A measure of no tokens is left out.
    """
    scores: dict[str, Score] = {}
    for name, groups in (("legibility/senior_text", seniors), ("legibility/junior_text", juniors)):
        scores[name], scores[f"{name}_pooled"] = _cross_entropies(junior, groups, transcribe, pace)
    return {name: score for name, score in scores.items() if score.weights.any()}


def as_written(prompt: Prompt, rollout: Rollout) -> Text:
    """Return the text in the tokens in which it was written."""
    return Text(prompt.token_ids, rollout.token_ids.tolist(), ended=rollout.end is EndReason.EOS)


def in_tokens_of(tokenizer: PreTrainedTokenizerBase, junior: int) -> Transcribe:
    """Return the conversion of a text to the tokens and template of the junior with index `junior` and another tokenizer."""

    def transcribe(prompt: Prompt, rollout: Rollout) -> Text:
        eos = [tokenizer.eos_token_id] if rollout.end is EndReason.EOS and tokenizer.eos_token_id is not None else []
        token_ids = [*tokenizer.encode(rollout.text, add_special_tokens=False), *eos]
        return Text(prompt.junior_token_ids[junior], token_ids, ended=bool(eos))

    return transcribe


def _cross_entropies(model: ScoringModel, groups: Sequence[Group], transcribe: Transcribe, pace: Pace) -> tuple[Score, Score]:
    """Return the model's cross-entropy on the texts of `groups`, averaged by text and problem, and pooled over all tokens."""
    texts = [
        (problem, text)
        for problem, group in enumerate(groups)
        for rollout in group.rollouts
        if (text := transcribe(group.prompt, rollout)).token_ids
    ]
    values = token_values(
        token_cross_entropy,
        [model],
        [text for _, text in texts],
        batch_tokens=pace.batch_tokens,
        chunk_tokens=pace.chunk_tokens,
    )
    means: list[list[float]] = [[] for _ in groups]
    totals, tokens = np.zeros(len(groups)), np.zeros(len(groups))
    for (problem, text), (nats,) in zip(texts, values, strict=True):
        totals[problem] += nats.sum()
        tokens[problem] += len(nats)
        if len(thought := nats[: len(nats) - text.ended]):
            means[problem].append(thought.mean())
    by_text = Score(
        np.array([sum(each) / max(len(each), 1) for each in means]), np.array([float(bool(each)) for each in means])
    )
    return by_text, Score(totals, tokens)
