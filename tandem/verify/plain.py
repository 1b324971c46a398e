"""What needs no algebra: answers that are spelled alike, plain numbers, letters of a choice, and words.

This runs on untrusted text in the process that asks. It therefore evaluates nothing: it compares short strings and exact
rationals, and refuses what could grow without bound before reading it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from tandem.verify.units import measured

MAX_ANSWER_CHARS = 500
"""Longer answers are not read."""
MAX_NUMBER_CHARS = 200
"""Longer numerals are left to algebra."""
MAX_DEPTH = 20
"""Answers whose brackets nest deeper are not read."""
TOLERANCE = Fraction(1, 10**6)
"""How near, relative to it, a decimal must come to a number that no decimal can write, such as 1/3."""
ROUNDED_DIGITS = 6
"""A decimal with so many digits behind the point stands for a number that it need not be exactly."""

_TOO_BIG = re.compile(
    r"\^[{\s(]*[-+]?\d[\d,]{4,}"  # an exponent of five digits
    r"|(?:\^[{\s(]*\d[\d.]*\s*){3}"  # a tower of three
    r"|\d[\d,]{3,}[\s)}]*!"  # the factorial of a number of four digits
    r"|![\s)}\]]*!"  # the factorial of a factorial
    r"|\\[dt]?binom\s*\{\s*\d{5,}"  # a binomial of five digits
    r"|\\(?:sum|prod)\b[^a-z]*?\^\s*\{?\s*\d{5,}"  # a sum of so many terms
)
_UNREADABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]")
"""Control characters, halves of characters, and what reverses the direction of writing."""
_LOOKS = re.compile(r"\\(?:left|right|displaystyle)(?![a-zA-Z])|(?<!\\)\\[!,;:()\[\]]|\\?\$")
"""LaTeX that changes how an answer looks, not what it says."""
_LETTERS = str.maketrans(
    {"\u2212": "-", "\u2013": "-", "~": " ", "\u00a0": " ", "\u00d7": "\\times ", "\u00b7": "\\cdot ", "\u03c0": "\\pi "}
    | {"\u221e": "\\infty ", "\u2264": "\\le ", "\u2265": "\\ge ", "\u222a": "\\cup ", "\u00b2": "^2", "\u00b3": "^3"}
)
_PERCENT = re.compile(r"\s?(?:\\%|\\text\s?\{\s?percent\s?\}|\bpercent\b)")
_SHORT_FRACTION = re.compile(r"\\frac\s?(?:(\d)|\{([^{}]*)\})\s?(?:(\d)|\{([^{}]*)\})")
_WRAPPED = re.compile(r"\\(?:text|textbf|textit|textrm|mathrm|mathbf|mbox)\s?\{([^{}]*)\}")
_CHOICE = re.compile(r"(?:\((?P<round>[A-J])\)|(?P<bare>[A-J])(?P<mark>[.:)])?)(?P<rest>.*)", re.IGNORECASE | re.DOTALL)
_WORDS = re.compile(r"[A-Za-z][A-Za-z'-]*(?: [A-Za-z'-]+)*")
_NAMES_LETTERS = 4
"""Shorter words that stand alone may be products of variables."""

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


class Unparsable(ValueError):
    """The answer is nothing that can be read, or would be too big to evaluate."""


@dataclass(frozen=True)
class _Number:
    value: Fraction
    """what is written in front of any percent sign"""
    decimals: int | None
    """how many digits stand behind the point; None without a point"""
    percent: bool


def settle(gold: str, answer: str) -> bool | None:
    """Whether `answer` equals `gold`, or None where only algebra can tell.

    Answers spelled alike are equal. Two plain numbers (integers with or without thousands separators, decimals, fractions,
    mixed numbers, powers of ten) are equal if they are exactly the same rational; a decimal also equals a fraction that no
    decimal can write, and another decimal if both have at least `ROUNDED_DIGITS`, if it is within a relative 1e-6 of it. A
    percentage equals both the number in front of its sign and a hundredth of it. Units count only where both name one. A letter
    of a choice may stand in brackets or in front of its text. Words are compared without regard to capitals.
    A gold longer than `MAX_ANSWER_CHARS` equals nothing but itself.
    Raises `Unparsable` when the answer is longer than that, nested too deep, or its powers are too high to evaluate.
    """
    if answer == gold:
        return True
    _refuse_the_unreadable(answer)
    if len(gold) > MAX_ANSWER_CHARS:
        return False
    gold_text, answer_text = _spelling(gold), _spelling(answer)
    if answer_text == gold_text:
        return True
    if (letter := _choice(gold_text)) and (chosen := _choice(answer_text, among_text=True)):
        return letter == chosen
    (gold_quantity, gold_unit), (answer_quantity, answer_unit) = measured(gold_text), measured(answer_text)
    if gold_unit and answer_unit and gold_unit != answer_unit:
        return False
    gold_number, answer_number = _number(gold_quantity), _number(answer_quantity)
    if gold_number and answer_number:
        return _same_number(gold_number, answer_number)
    return _settle_words(gold_text, answer_text, gold_number or answer_number)


def reading(answer: str) -> str:
    """`answer` without its unit and without LaTeX that changes only its looks: what algebra should read."""
    return measured(_spelling(answer))[0]


def _refuse_the_unreadable(answer: str) -> None:
    if len(answer) > MAX_ANSWER_CHARS:
        raise Unparsable(f"the answer has {len(answer)} characters, more than {MAX_ANSWER_CHARS}")
    if _UNREADABLE.search(answer):
        raise Unparsable("the answer holds characters that are not text")
    if _TOO_BIG.search(answer):
        raise Unparsable("the answer's powers or factorials are too big to be evaluated")
    depth = 0
    for character in answer:
        depth += (character in "([{") - (character in ")]}")
        if depth > MAX_DEPTH:
            raise Unparsable(f"the answer's brackets nest deeper than {MAX_DEPTH}")


def _spelling(text: str) -> str:
    """`text` with everything taken off that only changes its looks."""
    text = _LOOKS.sub("", text.replace("{,}", ",").translate(_LETTERS))
    text = text.replace("\\dfrac", "\\frac").replace("\\tfrac", "\\frac")
    text = _PERCENT.sub("%", " ".join(text.split()))
    text = _SHORT_FRACTION.sub(lambda part: f"\\frac{{{part[1] or part[2]}}}{{{part[3] or part[4]}}}", text)
    return text.removesuffix(".").rstrip()


def _unwrapped(text: str) -> str:
    """`text` without `\\text{...}` and the like around its parts."""
    return " ".join(_WRAPPED.sub(r"\1", text).split())


def _choice(text: str, among_text: bool = False) -> str | None:
    """The letter of a choice that `text` names, such as B for (B), \\text{B} or B.; `among_text` for b, B. 7 and (B) 7 too."""
    match = _CHOICE.fullmatch(_unwrapped(text))
    if not match or (match["rest"].strip() and not ((match["round"] or match["mark"]) and among_text)):
        return None
    letter = match["round"] or match["bare"]
    return letter.upper() if among_text or letter.isupper() else None


def _settle_words(gold: str, answer: str, number: _Number | None) -> bool | None:
    """Whether two answers in words are the same, or None if they are not words; no words equal a `number`."""
    texts = []
    for text in (gold, answer):
        unwrapped = _unwrapped(text)
        is_words = _WORDS.fullmatch(unwrapped) and (unwrapped != text or len(unwrapped) >= _NAMES_LETTERS)
        texts.append(unwrapped.casefold() if is_words else None)
    if number is not None:
        return False if any(texts) else None
    return texts[0] == texts[1] if all(texts) else None


def _number(text: str) -> _Number | None:
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
    return _Number(-value if match["sign"] == "-" else value, decimals, bool(match["percent"]))


def _digits(numeral: str) -> str:
    return numeral.replace(",", "")


def _same_number(gold: _Number, answer: _Number) -> bool:
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
