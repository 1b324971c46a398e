"""Measures of what models say of each other's texts: drift and legibility."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from transformers import PreTrainedTokenizerBase

from tandem.measures.score import Score
from tandem.measures.scoring import Reader, Statistic, Text, drift, sums, token_cross_entropy
from tandem.rollout import EndReason, Group, Prompt, Rollout

Transcribe = Callable[[Prompt, Rollout], Text]


@dataclass(frozen=True)
class Pace:
    """How much is computed at a time."""

    batch_tokens: int
    """that pass through a model"""
    chunk_tokens: int
    """whose logits exist"""


def drift_scores(senior: Reader, junior: Reader, groups: Sequence[Group], pace: Pace) -> dict[str, Score]:
    """KL(senior || junior) and KL(junior || senior) in nats per token of the senior's texts, from the whole distributions."""
    ours, theirs = _per_token(drift, [senior, junior], groups, as_written, pace)
    return {"drift/kl_senior_junior": ours, "drift/kl_junior_senior": theirs}


def legibility_scores(
    junior: Reader, seniors: Sequence[Group], juniors: Sequence[Group], transcribe: Transcribe, pace: Pace
) -> dict[str, Score]:
    """The junior's cross-entropy in nats per token over the senior's texts, and over its own, which is the floor."""
    (senior,) = _per_token(token_cross_entropy, [junior], seniors, transcribe, pace)
    (own,) = _per_token(token_cross_entropy, [junior], juniors, transcribe, pace)
    return {"legibility/senior_text": senior, "legibility/junior_text": own}


def as_written(prompt: Prompt, rollout: Rollout) -> Text:
    """A text in the tokens that it was written in."""
    return Text(prompt.token_ids, rollout.token_ids.tolist())


def in_tokens_of(tokenizer: PreTrainedTokenizerBase, junior: int) -> Transcribe:
    """A text in the tokens and the template of the junior of that index, which has a tokenizer of its own."""

    def transcribe(prompt: Prompt, rollout: Rollout) -> Text:
        ended = [tokenizer.eos_token_id] if rollout.end is EndReason.EOS and tokenizer.eos_token_id is not None else []
        return Text(prompt.junior_token_ids[junior], [*tokenizer.encode(rollout.text, add_special_tokens=False), *ended])

    return transcribe


def _per_token(
    statistic: Statistic, readers: Sequence[Reader], groups: Sequence[Group], transcribe: Transcribe, pace: Pace
) -> list[Score]:
    """Each kind of `statistic` in nats per token, pooled over texts and problems."""
    texts = [transcribe(group.prompt, rollout) for group in groups for rollout in group.rollouts]
    problems = np.repeat(np.arange(len(groups)), [len(group.rollouts) for group in groups])
    kept = [index for index, text in enumerate(texts) if text.token_ids]
    texts, problems = [texts[index] for index in kept], problems[kept]
    tokens = np.bincount(problems, [len(text.token_ids) for text in texts], minlength=len(groups))
    kinds = sums(statistic, readers, texts, batch_tokens=pace.batch_tokens, chunk_tokens=pace.chunk_tokens)
    return [Score(np.bincount(problems, kind, minlength=len(groups)), tokens) for kind in kinds]
