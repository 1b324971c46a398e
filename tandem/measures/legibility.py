"""Legibility of one model's texts to another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from transformers import PreTrainedTokenizerBase

from tandem.measures.score import Score
from tandem.measures.scoring import ScoringModel, Statistic, Text, sums, token_cross_entropy
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
    """Return the junior's cross-entropy in nats per token on the senior's texts, and on its own texts for comparison."""
    (on_senior,) = _per_token(token_cross_entropy, [junior], seniors, transcribe, pace)
    (on_junior,) = _per_token(token_cross_entropy, [junior], juniors, transcribe, pace)
    return {"legibility/senior_text": on_senior, "legibility/junior_text": on_junior}


def as_written(prompt: Prompt, rollout: Rollout) -> Text:
    """Return the text in the tokens in which it was written."""
    return Text(prompt.token_ids, rollout.token_ids.tolist())


def in_tokens_of(tokenizer: PreTrainedTokenizerBase, junior: int) -> Transcribe:
    """Return the conversion of a text to the tokens and template of the junior with index `junior` and another tokenizer."""

    def transcribe(prompt: Prompt, rollout: Rollout) -> Text:
        ended = [tokenizer.eos_token_id] if rollout.end is EndReason.EOS and tokenizer.eos_token_id is not None else []
        return Text(prompt.junior_token_ids[junior], [*tokenizer.encode(rollout.text, add_special_tokens=False), *ended])

    return transcribe


def _per_token(
    statistic: Statistic, models: Sequence[ScoringModel], groups: Sequence[Group], transcribe: Transcribe, pace: Pace
) -> list[Score]:
    """Return the values of `statistic` in nats per token, pooled over texts and problems."""
    texts = [transcribe(group.prompt, rollout) for group in groups for rollout in group.rollouts]
    problems = np.repeat(np.arange(len(groups)), [len(group.rollouts) for group in groups])
    kept = [index for index, text in enumerate(texts) if text.token_ids]
    texts, problems = [texts[index] for index in kept], problems[kept]
    tokens = np.bincount(problems, [len(text.token_ids) for text in texts], minlength=len(groups))
    kinds = sums(statistic, models, texts, batch_tokens=pace.batch_tokens, chunk_tokens=pace.chunk_tokens)
    return [Score(np.bincount(problems, kind, minlength=len(groups)), tokens) for kind in kinds]
