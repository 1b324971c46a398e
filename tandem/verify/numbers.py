"""Plain numbers, as exact rationals: integers with or without thousands separators, decimals, fractions, mixed numbers, powers
of ten, percentages."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

MAX_NUMBER_CHARS = 200
"""Longer numerals are left to algebra."""
TOLERANCE = Fraction(1, 10**6)
"""How near, relative to it, a decimal must come to a number that no decimal can write, such as 1/3."""
ROUNDED_DIGITS = 6
"""A decimal with so many digits behind the point stands for a number that it need not be exactly."""

_UNSIGNED = r"(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d*)?|\.\d+"
_NUMBER = re.compile(
    rf"""
    (?P<sign>[-+]?)\s?
    (?:
        (?:(?P<whole>\d+)(?:\s|\\\s)?)?\\frac\s?\{{\s?(?P<top>[-+]?(?:{_UNSIGNED}))\s?\}}\s?\{{\s?(?P<bottom>[-+]?(?:{_UNSIGNED}))\s?\}}
      | (?:(?P<whole_>\d+)\s)?(?P<left>{_UNSIGNED})\s?/\s?(?P<right>{_UNSIGNED})
      | (?P<decimal>{_UNSIGNED})(?:(?:e|\s?\\(?:times|cdot)\s?10\s?\^)\s?(?P<brace>\{{)?(?P<power>[-+]?\d{{1,3}})(?(brace)\}}))?
    )
    \s?(?P<percent>%?)
    """,
    re.VERBOSE | re.ASCII | re.IGNORECASE,
)


@dataclass(frozen=True)
class Number:
    """A number and how it was written."""

    value: Fraction
    """what is written in front of any percent sign"""
    decimals: int | None
    """how many digits stand behind the point; None without a point"""
    percent: bool


def read_number(text: str) -> Number | None:
    """The number that the whole of `text` writes, if it is one. `text` has single spaces."""
    match = _NUMBER.fullmatch(text) if len(text) <= MAX_NUMBER_CHARS else None
    if match is None:
        return None
    over = Fraction(_digits(match["bottom"] or match["right"] or "1"))
    if over == 0:
        return None
    value = Fraction(_digits(match["top"] or match["left"] or match["decimal"])) / over
    value += int(match["whole"] or match["whole_"] or 0)
    value *= Fraction(10) ** int(match["power"] or 0)
    decimals = len(match["decimal"].partition(".")[2]) if "." in (match["decimal"] or "") else None
    return Number(-value if match["sign"] == "-" else value, decimals, bool(match["percent"]))


def _digits(numeral: str) -> str:
    return numeral.replace(",", "")


def same_number(gold: Number, answer: Number) -> bool:
    """Whether two numbers are exactly the same rational.

    A decimal also equals a fraction that no decimal can write, and another decimal if both have at least `ROUNDED_DIGITS`, if
    it is within `TOLERANCE` of it. A percentage equals both the number in front of its sign and a hundredth of it.
    """
    rounded = all(number.decimals is not None and number.decimals >= ROUNDED_DIGITS for number in (gold, answer))
    if gold.decimals is not None and not _terminates(answer.value):
        rounded = True
    if answer.decimals is not None and not _terminates(gold.value):
        rounded = True
    tolerance = TOLERANCE if rounded else Fraction(0)
    readings = [(gold.value, answer.value)]
    if gold.percent != answer.percent:
        readings.append((gold.value / (100 if gold.percent else 1), answer.value / (100 if answer.percent else 1)))
    return any(abs(g - a) <= tolerance * abs(g) for g, a in readings)


def _terminates(value: Fraction) -> bool:
    """Whether a decimal can write `value`: its denominator has no prime factors but 2 and 5."""
    return 10 ** value.denominator.bit_length() % value.denominator == 0
