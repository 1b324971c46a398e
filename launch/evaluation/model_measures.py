"""The measures that compare whole distributions, drift and legibility: from an evaluation's texts and the models on disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from transformers.utils.logging import disable_progress_bar

from tandem.authors import Authors
from tandem.config.schema import Config
from tandem.measures.legibility import Pace, as_written, drift_scores, in_tokens_of, legibility_scores
from tandem.measures.score import Score
from tandem.measures.scoring import ScoringModel
from tandem.rollout import Group

MODEL_MEASURES = ("drift", "legibility")
"""The names of these measures. Neither engines nor learner hold both distributions."""


def model_scores(
    config: Config, authors: Authors, senior_texts: Sequence[Group], junior_texts: Sequence[Group], device: str
) -> tuple[dict[str, Score], list[str]]:
    """Return the scores of the texts under the models of `authors`, and a note for each measure left out."""
    scores: dict[str, Score] = {}
    notes: list[str] = []
    if not senior_texts:
        return scores, notes
    disable_progress_bar()
    junior, pace = authors.juniors[0], Pace(config.learner.micro_batch_tokens, config.learner.logprob_chunk_tokens)
    senior_texts = [replace(group, rollouts=group.rollouts[: config.eval.scored_samples]) for group in senior_texts]
    reader = ScoringModel(junior.path, junior.dtype, device)
    if "drift" in config.eval.measures and junior.translation:
        notes.append("no drift: senior and junior have different tokenizers, and no distribution in common")
    elif "drift" in config.eval.measures:
        scores |= drift_scores(ScoringModel(authors.senior, config.model.dtype, device), reader, senior_texts, pace)
    if "legibility" in config.eval.measures:
        transcribe = in_tokens_of(junior.translation.tokenizer, 0) if junior.translation else as_written
        scores |= legibility_scores(reader, senior_texts, junior_texts, transcribe, pace)
    return scores, notes
