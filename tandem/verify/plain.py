"""Comparison without algebra: answers spelled alike, plain numbers, letters of a choice, words, and collections of these.

This runs on untrusted text in the caller's process, so it evaluates nothing: it compares short strings and exact rationals, and
refuses answers that are too big before reading them.
"""

from __future__ import annotations

import re

from tandem.verify.comparison import compare
from tandem.verify.guards import MAX_ANSWER_CHARS, refuse_too_big, refuse_unreadable
from tandem.verify.spelling import canonical
from tandem.verify.structure import alike, without_remark
from tandem.verify.words import flattened

_MEANINGS = {
    **dict.fromkeys(("all real numbers", "all reals", "real numbers", "all real x", "set of all real numbers"), "\\mathbb{R}"),
    **dict.fromkeys(
        ("all integers", "integers", "set of integers", "set of all integers", "all integer values"), "\\mathbb{Z}"
    ),
    **dict.fromkeys(("all natural numbers", "natural numbers", "set of natural numbers"), "\\mathbb{N}"),
    **dict.fromkeys(("all rational numbers", "all rationals", "rational numbers", "set of rational numbers"), "\\mathbb{Q}"),
    **dict.fromkeys(
        ("no solution", "no solutions", "no real solution", "no real solutions", "none", "empty set", "null set"), "\\emptyset"
    ),
    **dict.fromkeys(("there is no solution", "there are no solutions", "there are no real solutions"), "\\emptyset"),
    **dict.fromkeys(("dne", "does not exist", "doesn't exist", "limit does not exist", "do not exist"), "\\text{DNE}"),
}
"""Words for sets of numbers."""
_ALL_BUT = re.compile(
    r"all (?:real numbers|reals|real x|values|x)(?: of x)? (?:except|but|other than)(?: for)? (?:x ?= ?)?(.*)", re.IGNORECASE
)
_DECIMAL_COMMA = re.compile(r"\$?(?P<whole>-?\d+)\{,\}(?P<places>\d{1,2}|\d{4,}|(?<=\b0\{,\})\d{3})\$?", re.ASCII)
"""A number whose comma cannot separate thousands."""
_POWER_OF_TEN = r"(?=10\s?\^\s?\{?\s?-?\s?\d)"
_TIMES = re.compile(rf"(?<=\d)\s?[xX]\s?{_POWER_OF_TEN}")
_CLEARLY_TIMES = re.compile(rf"(?<=\d)(?:\s[xX]\s|\s?\\text\{{\s?[xX]\s?\}}\s?){_POWER_OF_TEN}")
"""An x that is no factor, because spaces or `\\text` set it apart."""
_NAMED_X = re.compile(r"\Ax\s?(?:=|\\approx)")
_CELL = r"\s?((?:(?!\d{5})[^&\\]|\\(?!end)[A-Za-z])+?)\s?"
_COLUMN = re.compile(
    rf"\(\s?\\begin\{{(array|matrix|smallmatrix)\}}(?:\{{[lcr]\}})?{_CELL}\\\\{_CELL}\\end\{{\1\}}\s?\)"
    rf"|\\begin\{{pmatrix\}}{_CELL}\\\\{_CELL}\\end\{{pmatrix\}}"
)
"""A column of two cells in parentheses, without numbers too big for a binomial."""
_COMMAND = re.compile(r"\\text\{[^{}]*\}|\\[A-Za-z]+")
"""Words in `\\text`, and commands."""
_PREFIX = re.compile(
    r"(?P<text>\\text\{\s?)?(?:(?:the )?(?:final |correct )?answer(?: is\b:?|:)|final(?: result| value)?:|result:"
    r"|(?:exactly|precisely)(?![A-Za-z]))\s?(?P<end>\}\s?)?",
    re.IGNORECASE,
)


def settle(gold: str, answer: str) -> bool | None:
    """Return whether `answer` equals `gold`, or None if that needs algebra.

    A gold longer than `MAX_ANSWER_CHARS` equals only itself. Raises `Unparsable` when the answer is longer than that, nested
    too deeply, or holds powers too high to evaluate.
    """
    if answer == gold:
        return True
    refuse_unreadable(answer)
    if len(gold) > MAX_ANSWER_CHARS:
        return False
    gold_text, answer_text = readings(gold, answer)
    if alike(gold_text, answer_text) and answer_text:
        return True
    refuse_too_big(answer)
    return compare(gold_text, answer_text, _undecided)


def readings(gold: str, answer: str) -> tuple[str, str]:
    """Return the canonical spellings of both texts.

    In 1.5x10^3 the x is a sign unless it is an unknown of the gold. A column of two cells is a binomial if the gold has one.
    """
    one, other = (_CLEARLY_TIMES.sub(r"\\times ", text) for text in (gold_reading(gold), reading(answer)))
    if "\\binom" in one and "\\begin" not in one:
        other = _COLUMN.sub(lambda column: f"\\binom{{{column[2] or column[4]}}}{{{column[3] or column[5]}}}", other)
    if "x" in _COMMAND.sub("", _TIMES.sub("", _NAMED_X.sub("", one))):
        return one, other
    return _TIMES.sub(r"\\times ", one), _TIMES.sub(r"\\times ", other)


def gold_reading(gold: str) -> str:
    """Return the canonical spelling of `gold`, in which only a comma in braces, as in `2{,}5`, is a decimal comma."""
    decimal = _DECIMAL_COMMA.fullmatch(gold.strip())
    return reading(f"{decimal['whole']}.{decimal['places']}" if decimal else gold)


def reading(answer: str) -> str:
    """Return the canonical spelling of `answer`, without prefix and trailing remark."""
    text = _without_prefix(without_remark(canonical(answer)))
    if exception := _ALL_BUT.fullmatch(flattened(text)):
        return f"\\mathbb{{R}} \\setminus \\{{{exception[1]}\\}}"
    return _MEANINGS.get(flattened(text).lower().removeprefix("the "), text)


def _without_prefix(text: str) -> str:
    """Return `text` without leading words such as "Final answer:" or "exactly"."""
    prefix = _PREFIX.match(text)
    if prefix is None:
        return text
    rest = text[prefix.end() :]
    return canonical(f"\\text{{{rest}") if prefix["text"] and not prefix["end"] else rest


def _undecided(gold: str, answer: str, roughly: bool = False) -> None:
    """Return None: only algebra can compare these texts."""
