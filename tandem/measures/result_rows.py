"""The results of an evaluation by problem and by text, as rows of JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tandem.measures.score import Score
from tandem.rollout import SENIOR, Group, Prompt, Verdict

Row = dict[str, Any]
Labels = Sequence[str] | None
"""The set of each problem, if there are several sets."""


@dataclass(frozen=True)
class ProblemRow:
    """One problem's row."""

    id: str
    scores: dict[str, tuple[float, float]]
    """its total and weight in each measure"""
    set: str = ""
    """empty if there is only one"""


def problem_rows(prompts: Sequence[Prompt], scores: Mapping[str, Score], labels: Labels = None) -> Iterator[Row]:
    """Yield a row for each problem: its total and weight in each score, which is the ratio of their sums."""
    for index, prompt in enumerate(prompts):
        parts = {name: [float(score.totals[index]), float(score.weights[index])] for name, score in scores.items()}
        yield {**_set_of(index, labels), "id": prompt.problem.id, "scores": parts}


def text_rows(texts: Mapping[str, Sequence[Group]], labels: Labels = None) -> Iterator[Row]:
    """Yield a row for each text of each problem, by the kind of text."""
    for kind, groups in texts.items():
        for index, group in enumerate(groups):
            for sample, (rollout, judgement) in enumerate(zip(group.rollouts, group.judgements, strict=True)):
                yield {
                    **_set_of(index, labels),
                    "id": group.prompt.problem.id,
                    "kind": kind,
                    "sample": sample,
                    "correct": judgement.verdict is Verdict.CORRECT,
                    "verdict": judgement.verdict.value,
                    "tokens": len(rollout),
                    "senior_tokens": int(np.count_nonzero(rollout.authorship == SENIOR)),
                    "handoffs": rollout.handoffs,
                    "end": rollout.end.value,
                }


def _set_of(index: int, labels: Labels) -> Row:
    return {"set": labels[index]} if labels else {}
