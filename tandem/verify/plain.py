"""What needs no algebra: answers that are spelled alike, and plain numbers.

This runs on untrusted text in the process that asks. It therefore evaluates nothing: it compares short strings and exact
rationals, and refuses what could grow without bound before reading it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

MAX_ANSWER_CHARS = 1000
"""Longer answers are not read."""
MAX_NUMBER_CHARS = 200
"""Longer numerals are left to algebra."""
DECIMAL_TOLERANCE = Fraction(1, 10**6)
"""How near, relative to it, a decimal must come to a fraction that no decimal can write, such as 1/3."""

_TOO_BIG = re.compile(
    r"\^[{\s]*[-+]?\d{5,}"  # an exponent of five digits
    r"|(?:\^[{\s]*\d[\d.]*\s*){3}"  # a tower of three
)
_LOOKS = re.compile(r"\\(?:left|right)(?![a-zA-Z])|\\[!,;:]|\\?\$")
"""LaTeX that changes how an answer looks, not what it says."""
_TEXT = re.compile(r"\\(?:text|textbf|mathrm|mbox)\s*\{([^{}]*)\}")

_UNSIGNED = r"(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d*)?|\.\d+"
_NUMBER = re.compile(
    rf"""
    (?P<sign>[-+]?)\s?
    (?:
        \\frac\s?\{{\s?(?P<top>[-+]?(?:{_UNSIGNED}))\s?\}}\s?\{{\s?(?P<bottom>[-+]?(?:{_UNSIGNED}))\s?\}}
      | (?P<left>{_UNSIGNED})\s?/\s?(?P<right>{_UNSIGNED})
      | (?P<decimal>{_UNSIGNED})(?:(?:e|\s?\\(?:times|cdot)\s?10\s?\^)\s?(?P<brace>\{{)?(?P<power>[-+]?\d{{1,3}})(?(brace)\}}))?
    )
    \s?(?P<percent>%?)
    """,
    re.VERBOSE | re.ASCII | re.IGNORECASE,
)


class Unparsable(ValueError):
    """The answer is nothing that can be read, or would be too big to evaluate."""


@dataclass(frozen=True)
class _Number:
    value: Fraction
    """what is written in front of any percent sign"""
    decimal: bool
    percent: bool


def settle(gold: str, answer: str) -> bool | None:
    """Whether `answer` equals `gold`, or None where only algebra can tell.

    Answers spelled alike are equal. Two plain numbers (integers with or without thousands separators, decimals, fractions,
    powers of ten) are equal if they are exactly the same rational; a decimal also equals a fraction that no decimal can write
    if it is within a relative 1e-6 of it. A percentage equals both the number in front of its sign and a hundredth of it.
    A gold longer than `MAX_ANSWER_CHARS` equals nothing but itself.
    Raises `Unparsable` when the answer is longer than that, or its powers are too high to evaluate.
    """
    if answer == gold:
        return True
    if len(answer) > MAX_ANSWER_CHARS or _TOO_BIG.search(answer):
        raise Unparsable("the answer is too long, or its powers too high, to be evaluated")
    if len(gold) > MAX_ANSWER_CHARS:
        return False
    gold, answer = _spelling(gold), _spelling(answer)
    if answer == gold:
        return True
    gold_number, answer_number = _number(gold), _number(answer)
    if gold_number is None or answer_number is None:
        return None
    return _same_number(gold_number, answer_number)


def _spelling(text: str) -> str:
    """`text` with everything taken off that only changes its looks."""
    text = text.replace("{,}", ",").replace("\u2212", "-").replace("\\%", "%").replace("~", " ")
    text = _LOOKS.sub("", text).replace("\\dfrac", "\\frac").replace("\\tfrac", "\\frac")
    text = " ".join(text.split())
    worded = _TEXT.fullmatch(text)
    return worded.group(1).strip() if worded else text


def _number(text: str) -> _Number | None:
    match = _NUMBER.fullmatch(text) if len(text) <= MAX_NUMBER_CHARS else None
    if match is None:
        return None
    over = Fraction(_digits(match["bottom"] or match["right"] or "1"))
    if over == 0:
        return None
    value = Fraction(_digits(match["top"] or match["left"] or match["decimal"])) / over
    value *= Fraction(10) ** int(match["power"] or 0)
    return _Number(-value if match["sign"] == "-" else value, "." in text, bool(match["percent"]))


def _digits(numeral: str) -> str:
    return numeral.replace(",", "")


def _same_number(gold: _Number, answer: _Number) -> bool:
    tolerance = Fraction(0)
    if (gold.decimal and not _terminates(answer.value)) or (answer.decimal and not _terminates(gold.value)):
        tolerance = DECIMAL_TOLERANCE
    readings = [(gold.value, answer.value)]
    if gold.percent != answer.percent:
        readings.append((gold.value / (100 if gold.percent else 1), answer.value / (100 if answer.percent else 1)))
    return any(abs(g - a) <= tolerance * abs(g) for g, a in readings)


def _terminates(value: Fraction) -> bool:
    """Whether a decimal can write `value`: its denominator has no prime factors but 2 and 5."""
    return 10 ** value.denominator.bit_length() % value.denominator == 0
