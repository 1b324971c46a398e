"""Senior and junior compared over the senior's texts: drift between them, and the junior as the senior's draft model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from tandem.config.rollout import SamplingConfig
from tandem.measures.acceptance import LONGEST_DRAFT, accepted_and_rounds
from tandem.measures.distributions import acceptances, divergences
from tandem.measures.legibility import Pace, as_written
from tandem.measures.score import Score
from tandem.measures.scoring import ScoringModel, token_values
from tandem.rollout import Group


def comparison_scores(
    senior: ScoringModel, junior: ScoringModel, groups: Sequence[Group], sampling: SamplingConfig, pace: Pace
) -> dict[str, Score]:
    """Return drift and acceptance over the senior's texts, at least one in each group, which were sampled by `sampling`."""

    def statistic(targets: Tensor, *logits: Tensor) -> tuple[Tensor, ...]:
        senior_logits, junior_logits = logits
        return *divergences(senior_logits, junior_logits), *acceptances(senior_logits, junior_logits, targets, sampling)

    texts = [as_written(group.prompt, rollout) for group in groups for rollout in group.rollouts]
    problems = np.repeat(np.arange(len(groups)), [len(group.rollouts) for group in groups])
    values = token_values(statistic, [senior, junior], texts, batch_tokens=pace.batch_tokens, chunk_tokens=pace.chunk_tokens)

    def by_problem(of_texts: Sequence[float] | np.ndarray) -> np.ndarray:
        return np.bincount(problems, of_texts, minlength=len(groups))

    tokens = by_problem([len(text.token_ids) for text in texts])
    names = ("drift/kl_senior_junior", "drift/kl_junior_senior", "acceptance/rate")
    scores = {name: Score(by_problem([each[row].sum() for each in values]), tokens) for row, name in enumerate(names)}
    accepted, rounds = np.array([accepted_and_rounds(each[3]) for each in values]).transpose(1, 2, 0)
    for k in range(1, LONGEST_DRAFT + 1):
        scores[f"acceptance/length@{k}"] = Score(by_problem(accepted[k - 1]), by_problem(rounds[k - 1]))
    return scores
