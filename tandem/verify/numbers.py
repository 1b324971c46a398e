"""Plain numbers, as exact rationals: integers with or without thousands separators, decimals, repeating decimals, fractions,
mixed numbers, powers of ten, numbers in words, and numerals of another base."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from tandem.verify.words import flattened

MAX_NUMBER_CHARS = 200
"""Longer numerals are compared by algebra."""
TOLERANCE = Fraction(1, 10**6)
"""Largest relative error of a decimal for a number without a finite decimal, such as 1/3."""
ROUNDED_DIGITS = 6
"""Decimals with at least this number of decimal places count as rounded."""

_UNSIGNED = r"(?:[1-9]\d{0,2}(?:[, ]\d{3})+(?!\d)|\d+)(?:\.\d*)?|\.\d+"
_TIMES = r"(?:\\times|\\cdot|\*)"
NUMERAL = rf"""
    (?P<sign>[-+]?)\s?
    (?:
        (?:(?P<whole>\d+)\s?)?\\frac\s?\{{\s?(?P<top>[-+]?(?:{_UNSIGNED}))\s?\}}\s?\{{\s?(?P<bottom>[-+]?(?:{_UNSIGNED}))\s?\}}
      | (?:(?P<whole_>\d+)\s)?(?P<left>{_UNSIGNED})\s?/\s?(?P<right>{_UNSIGNED})
      | (?P<fixed>\d*\.\d*)(?:\\(?:overline|bar|dot|overset\{{\\cdot\}})\s?\{{?(?P<period>\d+)\}}?|\((?P<period_>\d+)\))
      | (?P<shown>\d*\.\d+)\s?\\ldots
      | 10\s?\^\s?(?P<ten>\{{)?\s?(?P<exponent>[-+]?\d{{1,3}})\s?(?(ten)\}})
      | (?P<decimal>{_UNSIGNED})(?:(?:e|\s?{_TIMES}\s?10\s?\^)\s?(?P<brace>\{{)?(?P<power>[-+]?\d{{1,3}})(?(brace)\}}))?
    )
"""
"""A regular expression (verbose, ASCII, ignoring case) for the numbers of `read_number`, except words."""
_NUMBER = re.compile(rf"{NUMERAL}\s?(?P<percent>(?:\\?%)?)", re.VERBOSE | re.ASCII | re.IGNORECASE)
_DECIMAL_COMMA = re.compile(r"([-+]?)(\d+),(\d+)", re.ASCII)
_BASED = re.compile(
    r"(?P<sign>-?)(?:\\text\{)?\(?(?P<digits>[0-9A-F]+(?:,[0-9A-F]{3})*)\)?\}?\s?"
    r"(?:_\s?\{?\s?\(?(?:\\text\{\s?)?(?P<base>\d{1,2}|[a-z]+)\)?\s?\}?\}?"
    r"|(?:\\text\{)?\s?\(?\s?(?:in )?base[ -]?\s?\$?(?P<named>\d{1,2}|[a-z]+)\)?\s?\}?)",
    re.ASCII,
)
_UNITS = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
_ONES = {word: number for number, word in enumerate(f"{_UNITS} eighteen nineteen".split())}
_TENS_WORDS = "twenty thirty forty fifty sixty seventy eighty ninety"
_TENS = {word: 10 * number for number, word in enumerate(_TENS_WORDS.split(), start=2)}
SCALES = {"hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12, "dozen": 12}
SCALES |= {"quadrillion": 10**15, "quintillion": 10**18, "lakh": 10**5, "crore": 10**7, "score": 20}
"""Words that multiply the preceding number."""
_PARTS = {"half": 2, "halves": 2, "third": 3, "quarter": 4, "fourth": 4, "fifth": 5, "sixth": 6, "seventh": 7, "eighth": 8}
_PARTS |= {"ninth": 9, "tenth": 10}
_PARTS |= {f"{word}s": number for word, number in _PARTS.items()}


@dataclass(frozen=True)
class Number:
    """A number and its notation."""

    value: Fraction
    """the number before any percent sign"""
    decimals: int | None = None
    """number of decimal places; None without a decimal point"""
    percent: bool = False
    base: int = 10
    """the base of its numeral"""
    lists: bool = False
    """whether its thousands separators may be commas between numbers"""


def read_number(text: str) -> Number | None:
    """Return the number that `text` is, or None. `text` is canonical (`tandem.verify.spelling`)."""
    match = _NUMBER.fullmatch(text) if len(text) <= MAX_NUMBER_CHARS else None
    if match is None:
        return _read_based(text) or _read_words(text)
    denominator = Fraction(_digits(match["bottom"] or match["right"] or "1"))
    if denominator == 0:
        return None
    decimal, decimals = match["decimal"], None
    if match["fixed"] is not None or match["shown"]:
        value = _repeating(match["fixed"], match["period"] or match["period_"]) if match["fixed"] else _shown(match["shown"])
        if value is None:
            return None
    elif match["exponent"]:
        value = Fraction(10) ** int(match["exponent"])
    else:
        value = Fraction(_digits(match["top"] or match["left"] or decimal)) / denominator
        value += int(match["whole"] or match["whole_"] or 0)
        value *= Fraction(10) ** int(match["power"] or 0)
        decimals = len(decimal.partition(".")[2]) if "." in (decimal or "") else None
    value = -value if match["sign"] == "-" else value
    return Number(value, decimals, bool(match["percent"]), lists="," in (decimal or ""))


def with_decimal_comma(text: str) -> Number | None:
    """Return the number of a `text` with a decimal comma, such as 2,74; None if the comma may separate thousands."""
    match = _DECIMAL_COMMA.fullmatch(text)
    if match is None or (len(match[3]) == 3 and match[2] != "0"):
        return None
    value = Fraction(f"{match[2]}.{match[3]}")
    return Number(-value if match[1] == "-" else value, len(match[3]))


def _digits(numeral: str) -> str:
    return numeral.replace(",", "").replace(" ", "")


def _repeating(fixed: str, period: str) -> Fraction:
    """Return 0.1666... for ("0.1", "6")."""
    whole, _, digits = fixed.partition(".")
    return (int((whole + digits + period) or "0") - int((whole + digits) or "0")) / Fraction(
        (10 ** len(period) - 1) * 10 ** len(digits)
    )


def _shown(numeral: str) -> Fraction | None:
    """Return the repeating decimal of which `numeral` shows at least two periods, or None."""
    whole, _, digits = numeral.partition(".")
    for length in range(1, len(digits) // 2 + 1):
        period = digits[-length:]
        if digits[-2 * length : -length] == period:
            return _repeating(f"{whole}.{digits}", period)
    return None


def _read_based(text: str) -> Number | None:
    """Return the number of a numeral with its base, such as 1010_2, or None."""
    match = _BASED.fullmatch(text) if len(text) <= MAX_NUMBER_CHARS else None
    if match is None:
        return None
    digits = match["digits"].replace(",", "")
    name = match["base"] or match["named"]
    base = int(name) if name.isdigit() else _ONES.get(name, 0)
    if not 2 <= base <= 16 or any(int(digit, 16) >= base for digit in digits):
        return None
    value = Fraction(int(digits, base))
    return Number(-value if match["sign"] else value, base=base)


def _read_words(text: str) -> Number | None:
    """Return the number that words name, such as twenty-one, one half, two and a half or two hundred and five, or None."""
    words = flattened(text).lower().replace("-", " ").split()
    if len(words) > 12:
        return None
    for place in range(1, len(words) - 1):
        if words[place] == "and" and (part := _fraction_in_words(words[place + 1 :])):
            whole = read_number(" ".join(words[:place]))
            if whole is None or whole.percent or whole.value.denominator != 1 or whole.base != 10:
                return None
            return Number(whole.value - part if whole.value < 0 else whole.value + part)
    return _read_plain_words(words)


def _fraction_in_words(words: list[str]) -> Fraction | None:
    """Return the fraction below 1 that two or more words name, such as a half or three quarters, or None."""
    number = _read_plain_words(words) if len(words) > 1 and "and" not in words and words[-1] in _PARTS else None
    return number.value if number and 0 < number.value < 1 else None


def _read_plain_words(words: list[str]) -> Number | None:
    """Return the number that `words` name, without a whole number before a fraction."""
    if not words or not set(words) <= {"and", "a", "an", "negative", "minus", *_ONES, *_TENS, *SCALES, *_PARTS}:
        return None
    sign = -1 if words[0] in ("negative", "minus") else 1
    words = words[1:] if sign < 0 else words
    denominator = 1
    if words and (part := _PARTS.get(words[-1])):
        if len(words) == 1 and part > 2:
            return None  # an ordinal
        denominator, words = part, words[:-1] or ["one"]
    total, group, last = 0, 0, ""
    for word in words:
        if word in SCALES:
            group = (group or 1) * SCALES[word]
            if word not in ("hundred", "dozen", "score"):
                total, group = total + group, 0
        elif word in _ONES or word in _TENS or word in ("a", "an"):
            if last in _ONES or (last in _TENS and not 1 <= _ONES.get(word, 0) <= 9) or last in ("a", "an"):
                return None
            group += _ONES.get(word, _TENS.get(word, 1))
        elif word != "and" or last not in SCALES:
            return None
        last = word
    if not words or last == "and" or (words in (["a"], ["an"]) and denominator == 1):
        return None
    return Number(sign * Fraction(total + group, denominator))


def same_number(gold: Number, answer: Number) -> bool:
    """Return whether two numbers are the same rational, written in the same base.

    Within `TOLERANCE` of the larger one, a decimal also equals a fraction without a finite decimal, and two decimals with at
    least `ROUNDED_DIGITS` decimal places are equal. So is such a fraction rounded to that number of digits. A percentage
    equals both the number before its sign and a hundredth of it; only the hundredth counts if the gold has no sign and is
    below 1.
    """
    if gold.base != answer.base:
        return False
    rounded = all(number.decimals is not None and number.decimals >= ROUNDED_DIGITS for number in (gold, answer))
    if gold.decimals is not None and not terminates(answer.value):
        rounded = True
    if answer.decimals is not None and not terminates(gold.value):
        rounded = True
    if gold.percent == answer.percent and (_rounds(gold, answer.value) or _rounds(answer, gold.value)):
        return True
    tolerance = TOLERANCE if rounded else Fraction(0)
    readings = []
    if gold.percent == answer.percent or gold.percent or abs(gold.value) >= 1:
        readings.append((gold.value, answer.value))
    if gold.percent != answer.percent:
        readings.append((gold.value / (100 if gold.percent else 1), answer.value / (100 if answer.percent else 1)))
    return any(abs(g - a) <= tolerance * max(abs(g), abs(a)) for g, a in readings)


def _rounds(decimal: Number, fraction: Fraction) -> bool:
    """Return whether `decimal` is a `fraction` without a finite decimal, rounded to `ROUNDED_DIGITS` digits or more."""
    if decimal.decimals is None or decimal.decimals < ROUNDED_DIGITS or abs(decimal.value) < Fraction(1, 10):
        return False
    return not terminates(fraction) and abs(decimal.value - fraction) * 2 * 10**decimal.decimals <= 1


def terminates(value: Fraction) -> bool:
    """Return whether `value` has a finite decimal: its denominator has no prime factors but 2 and 5."""
    return 10 ** value.denominator.bit_length() % value.denominator == 0
