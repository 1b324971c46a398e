"""The verdict on an answer, as tests state it."""

from __future__ import annotations

from tandem.verify.equivalence import judge
from tandem.verify.guards import Unparsable


def says(gold: str, answer: str) -> str:
    """Return the verdict: correct, wrong or unparsable."""
    try:
        return "correct" if judge(gold, answer) else "wrong"
    except Unparsable:
        return "unparsable"


def accepts(gold: str, answer: str) -> bool:
    """Return whether the answer is correct; an unreadable one is not."""
    return says(gold, answer) == "correct"
