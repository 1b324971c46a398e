"""Measures of judged texts: accuracy, authorship, length and dialect."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from tandem.data.arith import DIALECTS, dialect
from tandem.measures.passk import pass_at_k
from tandem.measures.score import Score
from tandem.rollout import SENIOR, Group, Rollout, Verdict


def accuracy(groups: Sequence[Group]) -> Score:
    """Return the share of correct texts."""
    return Score.mean_of([_correct(group) / len(group.verdicts) for group in groups], share=True)


def passes(groups: Sequence[Group], ks: Sequence[int]) -> dict[str, Score]:
    """Return pass@k for each k, by name. pass@1 is the accuracy."""
    return {
        f"pass@{k}": Score.mean_of([pass_at_k(len(group.verdicts), _correct(group), k) for group in groups], share=True)
        for k in ks
    }


def retentions(team: Sequence[Group], solo: Sequence[Group], ks: Sequence[int]) -> dict[str, Score]:
    """Return team pass@k over solo pass@k for each k, by name. A k with a solo pass@k of 0 is left out."""
    team_passes, solo_passes = passes(team, ks), passes(solo, ks)
    return {
        f"retention@{k}": Score(team_passes[f"pass@{k}"].totals, solo_passes[f"pass@{k}"].totals)
        for k in ks
        if solo_passes[f"pass@{k}"].value > 0
    }


def senior_share(groups: Sequence[Group]) -> Score:
    """Return the share of all tokens that the senior wrote."""
    return _ratio(groups, lambda rollout: int(np.count_nonzero(rollout.authorship == SENIOR)), len)


def handoffs(groups: Sequence[Group]) -> Score:
    """Return the handoffs per text."""
    return _ratio(groups, lambda rollout: rollout.handoffs, lambda _: 1)


def length(groups: Sequence[Group]) -> Score:
    """Return the tokens per text."""
    return _ratio(groups, len, lambda _: 1)


def jargon_share(groups: Sequence[Group]) -> Score:
    """Return the share of texts in the offline task's jargon."""
    return _ratio(groups, lambda rollout: dialect(rollout.text) == "jargon", lambda _: 1, share=True)


def accuracies_by_dialect(groups: Sequence[Group]) -> dict[str, Score]:
    """Return the share of correct texts in each of the offline task's dialects that occurs, by name."""
    scores = {}
    for name in DIALECTS:
        spoken = [[dialect(rollout.text) == name for rollout in group.rollouts] for group in groups]
        correct = [[verdict is Verdict.CORRECT for verdict in group.verdicts] for group in groups]
        totals = [np.count_nonzero(np.logical_and(*pair)) for pair in zip(spoken, correct, strict=True)]
        if any(map(any, spoken)):
            weights = np.array(list(map(sum, spoken)), np.float64)
            scores[f"{name}_accuracy"] = Score(np.array(totals, np.float64), weights, share=True)
    return scores


def _correct(group: Group) -> int:
    return group.verdicts.count(Verdict.CORRECT)


def _ratio(
    groups: Sequence[Group], total: Callable[[Rollout], float], weight: Callable[[Rollout], float], share: bool = False
) -> Score:
    def sums(of: Callable[[Rollout], float]) -> np.ndarray:
        return np.array([sum(map(of, group.rollouts)) for group in groups], np.float64)

    return Score(sums(total), sums(weight), share=share)
