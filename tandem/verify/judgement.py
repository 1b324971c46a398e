"""The judgement of a response: a verdict, the extracted final answer and a score."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum
from typing import SupportsFloat


class Verdict(StrEnum):
    """The verifier's result for a rollout's final answer."""

    CORRECT = "correct"
    WRONG = "wrong"
    UNPARSABLE = "unparsable"
    TIMEOUT = "timeout"
    ERROR = "error"

    @property
    def judged(self) -> bool:
        """Whether the verifier judged the answer: neither a deadline nor an exception ended it."""
        return self not in (Verdict.TIMEOUT, Verdict.ERROR)


@dataclass(frozen=True)
class Judgement:
    """The verdict on one response."""

    verdict: Verdict
    extracted: str | None
    """the final answer as the response states it; None if it states none or the verifier extracts none"""
    score: float
    """1 for a correct answer and 0 for any other, unless the verifier gives partial scores"""
    seconds: float = field(default=0.0, compare=False)
    """time from sending the response to a worker until its judgement arrived; 0 without a worker"""

    @property
    def readable(self) -> bool:
        """Whether the response states an answer in the required form, right or wrong."""
        return self.verdict in (Verdict.CORRECT, Verdict.WRONG)


def plain_judgement(verdict: Verdict, extracted: str | None = None, seconds: float = 0.0) -> Judgement:
    """Return a judgement whose score is 1 if the answer is correct, else 0."""
    return Judgement(verdict, extracted, float(verdict is Verdict.CORRECT), seconds)


def as_judgement(result: object) -> Judgement:
    """Return `result` as a judgement: it is a bool, a number (correct from 1 up), a verdict or a judgement.

    Raises `TypeError` for anything else and `ValueError` for a score that is not finite.
    """
    if isinstance(result, Judgement):
        judgement = Judgement(Verdict(result.verdict), result.extracted, float(result.score))
    elif isinstance(result, Verdict):
        judgement = plain_judgement(result)
    elif isinstance(result, SupportsFloat):  # bool, int, float, or a library's number type
        score = float(result)
        judgement = Judgement(Verdict.CORRECT if score >= 1 else Verdict.WRONG, None, score)
    else:
        raise TypeError(f"a verifier returns a bool, a number, a Verdict or a Judgement, not {result!r:.100}")
    if not math.isfinite(judgement.score):
        raise ValueError(f"a score must be finite, not {judgement.score}")
    return judgement
