"""The measures of what models say of texts: drift and legibility, from an evaluation's texts and the models on disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from transformers.utils.logging import disable_progress_bar

from tandem.authors import Authors
from tandem.config.schema import Config
from tandem.measures.reading import Pace, as_written, drift_scores, in_tokens_of, legibility_scores
from tandem.measures.score import Score
from tandem.measures.scoring import Reader
from tandem.rollout import Group

READ = ("drift", "legibility")
"""These measures, which compare whole distributions: neither engines nor learner hold both."""


def read_scores(
    config: Config, authors: Authors, seniors: Sequence[Group], juniors: Sequence[Group], device: str
) -> tuple[dict[str, Score], list[str]]:
    """What the models at `authors` say of texts, the senior's and the junior's own; and what is left out, and why."""
    scores: dict[str, Score] = {}
    notes: list[str] = []
    if not seniors:
        return scores, notes
    disable_progress_bar()
    junior, pace = authors.juniors[0], Pace(config.learner.micro_batch_tokens, config.learner.logprob_chunk_tokens)
    seniors = [replace(group, rollouts=group.rollouts[: config.eval.scored_samples]) for group in seniors]
    reader = Reader(junior.path, junior.dtype, device)
    if "drift" in config.eval.measures and junior.own:
        notes.append("no drift: senior and junior have different tokenizers, and no distribution in common")
    elif "drift" in config.eval.measures:
        scores |= drift_scores(Reader(authors.senior, config.model.dtype, device), reader, seniors, pace)
    if "legibility" in config.eval.measures:
        transcribe = in_tokens_of(junior.own.tokenizer, 0) if junior.own else as_written
        scores |= legibility_scores(reader, seniors, juniors, transcribe, pace)
    return scores, notes
