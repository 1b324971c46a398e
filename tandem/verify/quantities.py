r"""Quantities: a number with a unit of measure, a currency, a scale word or a counter.

Units count only if both answers name one. They are recognized after plain numbers; after other expressions only in
`\text{...}`, because a bare letter there is a variable.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from math import prod

from tandem.verify.numbers import NUMERAL, SCALES, Number, read_number
from tandem.verify.structure import SEPARATOR, split, variables
from tandem.verify.units import POWER, Unit, read_unit, same_kind, unit_named
from tandem.verify.words import flattened

_BARE_SINGLE = frozenset("mgshLlKVWJNCTFH°%€£¥₹¢'Å")
"""Single characters that name a unit after a plain number without `\\text`."""
_CURRENCY = re.compile(
    r"(?:\\text\{\s?)?(?P<name>US\s?\\?\$|\\\$|[€£¥₹]|(?:USD|EUR|GBP|CNY|RMB|INR|JPY|Rs\.?)(?![A-Za-z]))\s?\}?\s?(?P<rest>[-+\d.\\].*)",
    re.DOTALL,
)
_NUMERAL = re.compile(NUMERAL, re.VERBOSE | re.ASCII | re.IGNORECASE)
_TEXT_TAIL = re.compile(r"(?P<quantity>.*[\d)}A-Za-z|!])\s?(?P<tail>(?:\\text\{[^{}]*\}|°|\\%).*)", re.DOTALL)
_ANGLE = re.compile(r"\\(?:sin|cos|tan|cot|sec|csc)(?![A-Za-z])(?!.*\))")
"""A function whose argument a degree sign belongs to."""
_UNIT_FRACTION = re.compile(r"\\frac\{([^{}\d]+)\}\{([^{}\d]+)\}")
_TEXT = re.compile(r"\\text\{[^{}]*\}|\\[A-Za-z]+")
"""Words in `\\text`, and commands."""
_WORD = re.compile(r"[^\W\d_]+(?:[-'’][^\W\d_]+)*\.?", re.UNICODE)
_DIVIDED = re.compile(r"(?P<amount>[^/]*?)(?:/|(?<![A-Za-z])(?:per|an?|every)\s)(?P<divisor>[^/\d]+)\Z")
"""An amount and what it is for."""
_COMPARED = re.compile(r"\A(?:more|fewer|less|additional|extra) (?=[a-z]{2})", re.IGNORECASE)
"""A comparison before a counted thing, as in 40 more apples."""
_SLASH = re.compile(r"(?<=[A-Za-z]{3})/(?=[A-Za-z])")
"""A division of counted things, as in widgets/hour."""
_PRODUCT = re.compile(r"[A-Za-z](?:\s?\^\s?\{?\d+\}?)?(?:\s[A-Za-z](?:\s?\^\s?\{?\d+\}?)?)+")
"""Single letters without a divisor, which may be variables."""
_ORDINAL = re.compile(r"\^?\s?\{?\s?(?:th|st|nd|rd)\s?\}?(?![A-Za-z])\s?", re.IGNORECASE)
_OPERATORS = """
or and not to than if mod modulo base times time plus minus over squared cubed percent percentage choose factorial root sqrt
divided multiplied subtracted added out possibly maybe perhaps
half halves third thirds quarter quarters fourth fourths fifth fifths tenth tenths pi theta
is isn't no nor but either neither between where when otherwise wrong incorrect impossible undefined about
more less fewer greater least most many probably approximately
tens doubled tripled quadrupled halved twice thrice negative negated below above under beneath
тысяч тысячи миллион миллиона миллионов миллиард или и 或 或者 和 万 亿 千 百 十 만 억 천 mil millones mille
"""
_NO_COUNTERS = frozenset(_OPERATORS.split())
"""Words that do more than name a counted thing."""
_MAX_COUNTERS = 5
_EAST_ASIAN = re.compile("[\u3000-\u9fff\uac00-\ud7af]")
_EAST_ASIAN_SCALES = {"百": 100, "千천": 10**3, "万萬만": 10**4, "亿億억": 10**8}
_EAST_ASIAN_SCALES = {mark: scale for marks, scale in _EAST_ASIAN_SCALES.items() for mark in marks}
_EAST_ASIAN_MARKS = re.compile(rf"[{''.join(_EAST_ASIAN_SCALES)}]{{1,2}}")
_PART = re.compile(r"(?:six|seven|eigh|nin|eleven|twelf|\w+teen|\w+tie|(?:hundred|thousand|\w{1,9}illion))ths?", re.IGNORECASE)
"""Words for fractions. Months and lengths, which may be counted, do not match."""
_BARE_COUNTER = 4
"""Bare words of fewer letters may be products of variables."""
_UNKNOWN = ""


@dataclass(frozen=True)
class Quantity:
    """An expression and its unit."""

    text: str
    """the expression, without the unit"""
    number: Number | None
    """the expression as a plain number, if it is one"""
    unit: str = _UNKNOWN
    """the measured dimension, under one name for all spellings; empty without a known unit"""
    factor: Fraction = Fraction(1)
    """size of the unit in base units"""
    primed: bool = False
    """whether the unit is a prime, as in 5', which may mean something else"""
    others: tuple[Fraction, ...] = ()
    """the factors of the smaller units that a compound such as 1 h 30 min names"""


def read_quantity(text: str) -> Quantity:
    """Return the quantity that `text` states; without a unit, its text is `text`."""
    number = read_number(text)
    if number and not number.percent:
        return Quantity(text, number)
    if (currency := _CURRENCY.fullmatch(text)) and (scale := unit_named(currency["name"])):
        if rate := _rate(currency["name"], scale, flattened(currency["rest"])):
            return rate
        inner = read_quantity(currency["rest"].strip())
        if inner.number and inner.unit in (_UNKNOWN, scale.kind):
            return replace(inner, unit=scale.kind, factor=scale.factor)
    if compound := _compound(text) or _in_words(text):
        return compound
    numeral = _NUMERAL.match(text)
    if numeral and numeral.end() < len(text):
        tail = text[numeral.end() :]
        if (number := read_number(numeral[0].strip())) and (measured := _measured(number, numeral[0].strip(), tail)):
            return measured
    if (match := _TEXT_TAIL.fullmatch(text)) and not _ANGLE.search(match["quantity"]):
        quantity, name = match["quantity"].strip(), _unit_words(match["tail"])
        scale = read_unit(name) if len(split(quantity, SEPARATOR)) == 1 else None
        if scale and (not variables(quantity) or (len(name) > 1 and match["tail"].startswith("\\text"))):
            number = read_number(quantity)
            if scale.kind == "percent":
                return Quantity(quantity, number and replace(number, percent=True), "percent")
            return Quantity(quantity, number, scale.kind, scale.factor)
        in_text = match["tail"].startswith("\\text") and not _has_variables(match["tail"])
        if in_text and not variables(quantity) and _counts(name, bare=False):
            return Quantity(quantity, read_number(quantity))
    return Quantity(text, None)


def same_unit(gold: Quantity, answer: Quantity) -> bool:
    """Return whether the units are compatible; a missing unit is, but a prime in the answer needs a unit in the gold."""
    if gold.unit and answer.unit:
        return same_kind(gold.unit, answer.unit)
    return not answer.primed


def values(gold: Quantity, answer: Quantity) -> list[tuple[Number, Number]]:
    """Return pairs of numbers; two quantities of plain numbers are equal if the numbers of one pair are."""
    assert gold.number is not None and answer.number is not None
    if gold.unit and answer.unit:
        if gold.factor == answer.factor:
            return [(gold.number, answer.number)]
        scaled = replace(answer.number, value=answer.number.value * answer.factor / gold.factor)
        return [(gold.number, scaled)]
    pairs = [(gold.number, answer.number)]
    pairs += [
        (gold.number, replace(answer.number, value=answer.number.value * answer.factor / other)) for other in answer.others
    ]
    pairs += [(replace(gold.number, value=gold.number.value * gold.factor / other), answer.number) for other in gold.others]
    return pairs


def _rate(currency: str, scale: Unit, text: str) -> Quantity | None:
    """Return the quantity of an amount of money for each unit or counted thing, such as 5 per hour or 3/ticket, or None."""
    divided = _DIVIDED.match(text)
    inner = read_quantity(divided["amount"].strip()) if divided else None
    if divided is None or inner is None or not inner.number or inner.unit not in (_UNKNOWN, scale.kind):
        return None
    divisor = divided["divisor"].strip()
    if rate := read_unit(f"{currency}/{divisor}"):
        return replace(inner, unit=rate.kind, factor=rate.factor)
    return replace(inner, unit=scale.kind, factor=scale.factor) if _counts(divisor, bare=True) else None


def _measured(number: Number, numeral: str, tail: str) -> Quantity | None:
    """Return the quantity of `number` followed by `tail`, or None if the tail is neither a unit nor a counter."""
    ordinal = _ORDINAL.match(_unit_words(tail)) if number.value.denominator == 1 and not tail.startswith(" ^") else None
    words = _unit_words(tail)[ordinal.end() :].strip() if ordinal else _unit_words(tail)
    if ordinal and not words:
        return Quantity(numeral, number)
    first = words.split(" ")[0] if words else ""
    if times := _scale(first):
        number = replace(number, value=number.value * times)
        rest = words[len(first) :].strip()
        scaled = str(number.value)
        if not rest:
            return Quantity(scaled, number)
        return _measured(number, scaled, f"\\text{{{rest}}}")
    if marks := _EAST_ASIAN_MARKS.match(words):
        number = replace(number, value=number.value * prod(_EAST_ASIAN_SCALES[mark] for mark in marks[0]))
        rest = words[marks.end() :].strip()
        return _measured(number, str(number.value), f"\\text{{{rest}}}") if rest else Quantity(str(number.value), number)
    if (scale := read_unit(words)) and _is_written_as_unit(words, tail):
        if scale.kind == "percent":
            return Quantity(numeral, replace(number, percent=True), "percent")
        return Quantity(numeral, number, scale.kind, scale.factor, primed=words in ("'", "''"))
    if "\\text" in tail and _has_variables(tail):
        return None
    if rate := _counted_rate(words):
        return Quantity(numeral, number, rate.kind, rate.factor)
    return Quantity(numeral, number) if _counts(words, bare="\\text" not in tail) else None


def _counted_rate(words: str) -> Unit | None:
    """Return the unit of counted things for each unit of measure, as in words per minute or widgets/hour, or None."""
    divided = _DIVIDED.match(words)
    divisor = read_unit(divided["divisor"].strip()) if divided else None
    if divided is None or divisor is None or not _counts(divided["amount"].strip(), bare=False):
        return None
    return Unit(f"counted/{divisor.kind}", 1 / divisor.factor)


def _has_variables(tail: str) -> bool:
    """Return whether a word outside `\\text{...}` may be a product of variables."""
    return any(map(_may_be_variables, _WORD.findall(_TEXT.sub(" ", tail))))


def _may_be_variables(word: str) -> bool:
    """Return whether a `word` outside `\\text{...}` may be a product of variables rather than a part of a counter."""
    is_unit = len(word) > 1 and unit_named(word) is not None
    return word.isascii() and len(word) < _BARE_COUNTER and not is_unit and word not in ("of", "per", "the", "for")


def _scale(word: str) -> int | None:
    """Return the factor of a word such as million or dozens, or None; "scores" counts things."""
    word = word.lower()
    return SCALES.get(word if word == "scores" else word.removesuffix("s"))


def _is_written_as_unit(words: str, tail: str) -> bool:
    """Return whether `tail` is the name of a unit rather than a product of variables."""
    if "\\text" in tail or "\\mu" in tail or not words[0].isalpha() or not words.isascii():
        return True
    base = POWER.sub("", words)
    if _PRODUCT.fullmatch(words):
        return False
    if len(base) > 1:
        return True
    return tail.startswith(" ") and base in _BARE_SINGLE and (base == words or base == "m")


def _counts(words: str, bare: bool) -> bool:
    """Return whether `words` can name counted things, as in 12 apples, 5 ways or 3个."""
    words = re.sub(r"\b(units?) (?:squared|cubed)\Z", r"\1", POWER.sub("", words))
    words = _COMPARED.sub("", words)
    counters = _WORD.findall(words)
    rest = _WORD.sub("", words if bare else _SLASH.sub(" ", words))
    if not counters or len(counters) > _MAX_COUNTERS or re.sub(r"[\s,]", "", rest):
        return False
    if any(word.lower() in _NO_COUNTERS or _scale(word) or _PART.fullmatch(word) or read_number(word) for word in counters):
        return False
    if _EAST_ASIAN.search(words):
        return not any(mark in words for mark in "或和十")
    if not bare:
        return len(words) > 1
    return not counters[0].isascii() or (len(counters[0]) >= _BARE_COUNTER and not _is_run_of_variables(counters[0].lower()))


def _is_run_of_variables(word: str) -> bool:
    """Return whether a word is a product of variables such as abcd or xyzw: successive letters, or no vowel."""
    successive = all(ord(after) - ord(before) == 1 for before, after in pairwise(word))
    return successive or not set(word) & set("aeiou")


def _compound(text: str) -> Quantity | None:
    """Return the quantity of several units of one kind in descending order, such as 5 ft 3 in, or None."""
    place, total = 0, Fraction(0)
    scales: list[Unit] = []
    flat = re.sub(r",|(?<![A-Za-z])and(?![A-Za-z])", " ", _unit_words(text))
    flat = " ".join(flat.split())
    for piece in re.finditer(r"(\d+(?:\.\d+)?)\s?([A-Za-z°'$]+\.?)(?:\s|\Z|(?=\d))", flat):
        scale = unit_named(piece[2])
        if piece.start() != place or scale is None:
            return None
        if scales and not (scale.kind == scales[-1].kind and scale.factor < scales[-1].factor):
            return None
        scales.append(scale)
        total += Fraction(piece[1]) * scale.factor
        place = piece.end()
    if len(scales) < 2 or place != len(flat):
        return None
    value = Number(total / scales[0].factor)
    return Quantity(
        str(value.value), value, scales[0].kind, scales[0].factor, others=tuple(scale.factor for scale in scales[1:])
    )


def counted_things(text: str) -> frozenset[str]:
    """Return the words after the number in 3 girls, 3\\text{ red balls} or one girl, in the singular; empty for anything else.

    Words that name a unit are none.
    """
    words = _unit_words(text)
    numeral = _NUMERAL.match(words)
    things = words[numeral.end() :].strip().lower() if numeral else _spelled(words)[1].lower()
    if not things or read_unit(things) is not None or not _counts(things, bare=False):
        return frozenset()
    return frozenset(_singular(word) for word in _WORD.findall(things)) - _ARTICLES


_ARTICLES = frozenset(["of", "the"])
_IRREGULAR = {
    "men": "man", "women": "woman", "children": "child", "people": "person", "feet": "foot", "teeth": "tooth", "geese": "goose",
    "mice": "mouse", "dice": "die", "oxen": "ox", "pennies": "penny", "pence": "penny",
}  # fmt: skip
_ENDINGS = (
    (r"ies\Z", "y"),
    (r"(?<=[sxzo])es\Z|(?<=[cs]h)es\Z|(?<![su])s\Z", ""),
    (r"ve\Z|fe\Z", "f"),
    (r"oe\Z", "o"),
    (r"([sz])\1*e?\Z", r"\1"),
)
"""Plural endings, and endings that stems have in common with them, as leave, of leaves, and leaf."""


def _singular(word: str) -> str:
    """Return one spelling for the singular and the plural of a noun; it need not be a word."""
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    for ending, stem in _ENDINGS:
        word = re.sub(ending, stem, word) if len(word) > 2 else word
    return word


def _in_words(text: str) -> Quantity | None:
    """Return the quantity of a number in words and a counter, such as five ways, or None."""
    spelled, _ = _spelled(_unit_words(text))
    return Quantity(spelled, read_number(spelled)) if spelled else None


def _spelled(text: str) -> tuple[str, str]:
    """Return the number in words and the counted things of a text such as five ways, or two empty texts."""
    words = text.split()
    for cut in range(1, min(len(words), _MAX_COUNTERS)) if words and (words[0].isalpha() or words[1:2] == ["and"]) else ():
        number, counted = " ".join(words[:cut]), " ".join(words[cut:])
        if read_number(number) and not read_number(" ".join(words[: cut + 1])) and _counts(counted, bare=False):
            return number, counted
    return "", ""


def _unit_words(text: str) -> str:
    """Return the words of a unit, with a slash for each fraction."""
    text = _UNIT_FRACTION.sub(r"\1/\2", flattened(text).replace("\\mu", "µ").replace("μ", "µ"))
    text = " ".join(text.replace("{}", "").split())
    return re.sub(
        r"µ (?=[A-Za-z\\])|[mkMG] (?=\\Omega)|° (?=[CF]\b)", lambda part: part[0].strip(), re.sub(r"\s?/\s?", "/", text)
    )
