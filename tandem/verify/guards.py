"""Checks of an answer before it is parsed: they refuse text that no answer needs and numbers too big to evaluate."""

from __future__ import annotations

import re

MAX_ANSWER_CHARS = 500
"""Longer answers are not read."""
MAX_DEPTH = 20
"""Answers whose brackets nest deeper are not read."""

_TOO_BIG = re.compile(
    r"\^[{\s(]*[-+]?\d[\d,]{4,}"  # an exponent of five digits
    r"|(?:\^[{\s(]*\d[\d.]*\s*){3}"  # a tower of three
    r"|\d[\d,]{3,}[\s)}]*!"  # the factorial of a number of four digits
    r"|![\s)}\]]*!"  # the factorial of a factorial
    r"|\\[dt]?binom\s*\{\s*\d{5,}"  # a binomial of five digits
    r"|\\(?:sum|prod)\b[^a-z]*?\^\s*\{?\s*\d{5,}"  # a sum of more than 9,999 terms
)
_UNREADABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]")
"""Control characters, lone surrogates and characters that reverse the writing direction."""


class Unparsable(ValueError):
    """The answer cannot be read, or is too big to evaluate."""


def refuse_unreadable(answer: str) -> None:
    """Raise `Unparsable` when `answer` is too long, nested too deeply, or holds characters that are not text."""
    if len(answer) > MAX_ANSWER_CHARS:
        raise Unparsable(f"the answer has {len(answer)} characters, more than {MAX_ANSWER_CHARS}")
    if _UNREADABLE.search(answer):
        raise Unparsable("the answer holds characters that are not text")
    depth = 0
    for character in answer:
        depth += (character in "([{") - (character in ")]}")
        if depth > MAX_DEPTH:
            raise Unparsable(f"the answer's brackets nest deeper than {MAX_DEPTH}")


def refuse_too_big(answer: str) -> None:
    """Raise `Unparsable` when a power, factorial or sum in `answer` is too big to evaluate."""
    if _TOO_BIG.search(answer):
        raise Unparsable("the answer's powers or factorials are too big to be evaluated")
