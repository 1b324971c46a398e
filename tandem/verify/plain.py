"""What needs no algebra: answers that are spelled alike, plain numbers, letters of a choice, and words.

This runs on untrusted text in the process that asks. It therefore evaluates nothing: it compares short strings and exact
rationals, and refuses what could grow without bound before reading it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from tandem.verify.numbers import Number, read_number, same_number
from tandem.verify.units import measured

MAX_ANSWER_CHARS = 500
"""Longer answers are not read."""
MAX_DEPTH = 20
"""Answers whose brackets nest deeper are not read."""
MAX_COLLECTION = 50
"""Larger collections are left to algebra."""

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
_NAMED = re.compile(r"(?P<name>[A-Za-z])\s?=\s?(?P<value>[^=]+)")
_COLLECTION = re.compile(r"(?P<opening>[(\[]|\\\{|)(?P<inside>[^()\[\]]*?,[^()\[\]]*?)(?P<closing>[)\]]|\\\}|)")
_NAMES_LETTERS = 4
"""Shorter words that stand alone may be products of variables."""


class Unparsable(ValueError):
    """The answer is nothing that can be read, or would be too big to evaluate."""


def settle(gold: str, answer: str) -> bool | None:
    """Whether `answer` equals `gold`, or None where only algebra can tell.

    Answers spelled alike are equal; plain numbers as `same_number` says, with or without the name of an unknown in front (x =
    5); collections of them number by number, in any order if they are sets or stand without brackets. Units count only where
    both name one. A letter of a choice may stand in brackets or in front of its text. Words are compared without regard to
    capitals.
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
    (gold_quantity, gold_unit), (answer_quantity, answer_unit) = map(measured, _without_name(gold_text, answer_text))
    if gold_unit and answer_unit and gold_unit != answer_unit:
        return False
    gold_number, answer_number = read_number(gold_quantity), read_number(answer_quantity)
    if gold_number and answer_number:
        return same_number(gold_number, answer_number)
    if not gold_number and (gold_list := _collection(gold_text)) and (answer_list := _collection(answer_text)):
        return _settle_collections(gold_list, answer_list)
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


def _without_name(gold: str, answer: str) -> tuple[str, str]:
    """Both without the unknown that one of them names, or both alike: x = 5 states 5."""
    gold_named, answer_named = _NAMED.fullmatch(gold), _NAMED.fullmatch(answer)
    if gold_named and answer_named and gold_named["name"] != answer_named["name"]:
        return gold, answer
    return gold_named["value"] if gold_named else gold, answer_named["value"] if answer_named else answer


def _collection(text: str) -> tuple[str, str, list[Number]] | None:
    """The brackets around a collection of at least two plain numbers (both empty if there are none), and the numbers."""
    match = _COLLECTION.fullmatch(text)
    numbers = [read_number(part.strip()) for part in match["inside"].split(",", MAX_COLLECTION)] if match else []
    if match is None or not 1 < len(numbers) <= MAX_COLLECTION:
        return None
    plain = [number for number in numbers if number]
    return (match["opening"], match["closing"], plain) if len(plain) == len(numbers) else None


def _settle_collections(gold: tuple[str, str, list[Number]], answer: tuple[str, str, list[Number]]) -> bool | None:
    """Whether two collections are the same, or None where their kinds differ."""
    if gold[:2] != answer[:2]:
        return None
    golds, answers = gold[2], answer[2]
    if gold[0] in ("", "\\{"):
        return _each_has_its_like(golds, answers) and _each_has_its_like(answers, golds)
    return len(golds) == len(answers) and all(map(same_number, golds, answers))


def _each_has_its_like(numbers: Sequence[Number], others: Sequence[Number]) -> bool:
    return all(any(same_number(number, other) for other in others) for number in numbers)


def _settle_words(gold: str, answer: str, number: Number | None) -> bool | None:
    """Whether two answers in words are the same, or None if they are not words; no words equal a `number`."""
    texts = []
    for text in (gold, answer):
        unwrapped = _unwrapped(text)
        is_words = _WORDS.fullmatch(unwrapped) and (unwrapped != text or len(unwrapped) >= _NAMES_LETTERS)
        texts.append(unwrapped.casefold() if is_words else None)
    if number is not None:
        return False if any(texts) else None
    return texts[0] == texts[1] if all(texts) else None
