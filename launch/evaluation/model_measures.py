"""The measures of whole distributions, drift, acceptance and legibility: from an evaluation's texts and the models on disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from transformers.utils.logging import disable_progress_bar

from tandem.authors import Authors
from tandem.config.evaluation import COMPARISONS
from tandem.config.schema import Config
from tandem.measures.comparison import comparison_scores
from tandem.measures.legibility import Pace, as_written, in_tokens_of, legibility_scores
from tandem.measures.score import Score
from tandem.measures.scoring import ScoringModel
from tandem.rollout import Group


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
    senior_texts, junior_texts = (
        [replace(group, rollouts=group.rollouts[: config.eval.scored_samples]) for group in groups]
        for groups in (senior_texts, junior_texts)
    )
    reader = ScoringModel(junior.path, junior.dtype, device)
    compared = [measure for measure in COMPARISONS if measure in config.eval.measures]
    if compared and junior.translation:
        names = " and no ".join(compared)
        notes.append(f"no {names}: senior and junior have different tokenizers, and no distribution in common")
    elif compared:
        senior = ScoringModel(authors.senior, config.model.dtype, device)
        both = comparison_scores(senior, reader, senior_texts, config.eval.sampling, pace)
        scores |= {name: score for name, score in both.items() if name.partition("/")[0] in compared}
    if "legibility" in config.eval.measures:
        transcribe = in_tokens_of(junior.translation.tokenizer, 0) if junior.translation else as_written
        scores |= legibility_scores(reader, senior_texts, junior_texts, transcribe, pace)
    return scores, notes
