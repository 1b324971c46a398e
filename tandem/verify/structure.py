r"""The structure of an answer: lists, sets, tuples, intervals and matrices, names of values, and remarks.

All texts are canonical (`tandem.verify.spelling`); no function evaluates anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain, product

from tandem.verify.remarks import ALTERNATIVE

MAX_PARTS = 60
"""Larger collections are not split."""
MAX_SIGNS = 4
r"""More `\pm` in one item are not taken to be independent."""

_TOKEN = re.compile(r"\\[A-Za-z]+|\\.|.", re.DOTALL)
_DEPTH = {"(": 1, "[": 1, "{": 1, "\\{": 1, "\\lfloor": 1, "\\lceil": 1, "\\begin": 1}
_DEPTH |= {")": -1, "]": -1, "}": -1, "\\}": -1, "\\rfloor": -1, "\\rceil": -1, "\\end": -1}
_CONNECTED = r",?\s?(?:\\text\{\s?,?\s?(?:and|or)\s?\}|(?<![A-Za-z\\])(?:and|or)(?![a-z])|\\lor(?![a-z])|\\land(?![a-z]))\s?"
AND_OR = re.compile(_CONNECTED)
_OR = re.compile(r",?\s?(?:\\text\{\s?,?\s?or\s?\}|(?<![A-Za-z\\])or(?![a-z])|\\lor(?![a-z]))\s?")
SEPARATOR = re.compile(rf"{_CONNECTED}|[,;]\s?|\\\\\s?")
"""The separators of a list."""
_CONJUNCTION, _DISJUNCTION = re.compile(r"\\land(?![a-z])"), re.compile(r"\\lor(?![a-z])")
_SEMICOLON = re.compile(r";\s?")
COMMA = re.compile(r"[,;]\s?")
EQUALS = re.compile(r"(?<![<>!\\:])=|\\approx|:=")
RELATION = re.compile(r"<|>|\\leq(?![A-Za-z])|\\geq(?![A-Za-z])|\\neq(?![A-Za-z])")
_MATRIX = re.compile(
    r"[(\[]?\s?\\begin\{(?P<kind>[pbB]?matrix|array|smallmatrix)\}(?:\{[^{}]*\})?(?P<cells>.*)\\end\{(?P=kind)\}\s?[)\]]?",
    re.DOTALL,
)
_NAME = re.compile(
    r"(?>(?:[A-Za-z:/|'&°\s]|\\(?!frac|sqrt|begin|text|sin|cos|tan|log|ln|cdot|times|pm|mp|sum|int|binom|overline)[A-Za-z]++"
    r"|\\overline\s?\{[A-Za-z\s]*+\}|_\s?(?:\{[^{}]*+\}|\w)|\((?>(?:[A-Za-z\d,\s']|\\[a-z]++)*)\)|\\text\{[^{}]*+\}"
    r"|\\frac\{[A-Za-z\s]*+\}\{[A-Za-z\s]*+\}|\^\{-1\}(?=\()|(?<=[A-Z])\^\{-1\})+)"
)
"""Atomic, so that no text can match in more than one way: it is used in the caller's process, which has no time limit."""
_GREEK = "(?:var)?(?:alpha|beta|gamma|delta|epsilon|theta|lambda|mu|nu|rho|sigma|tau|phi|psi|omega)"
_COMMAND = re.compile(rf"\\(?!{_GREEK}(?![a-z]))[A-Za-z]+")
_VARIABLE = re.compile(r"\\[a-z]+|[A-Za-z]")
_BOUND = re.compile(r"\\(?:sum|prod|lim)\s?_\s?\{?\s?([A-Za-z])(?![A-Za-z])|\\int.*(d)\s?([A-Za-z])(?![A-Za-z])")
_CONGRUENCE = re.compile(
    r"(?:(?P<name>[A-Za-z])\s?\\equiv\s?)?(?P<value>-?\d+)\s?(?:\\text\{\s?)?\(?\s?(?:\\pmod|\\p?mod|\\bmod|mod)\s?(?:\\text\{)?"
    r"\s?\{?\s?(?P<modulus>\d+)\s?\}?\s?\)?\s?\}?"
)
_NEGATION = re.compile(r"(?<![A-Za-z\\])(?:not|never)(?![A-Za-z])|n't(?![A-Za-z])")
_MEMBER = re.compile(r"\\in(?![A-Za-z])\s?")
_REMARK = re.compile(
    r"\s?(?:\\text\{\s?)?\(\s?(?:\\text\{\s?)?(?:(?:since|because|as|where|about|approximately|approx\.?|roughly|rounded|exactly|"
    r"or about|or approximately|i\.e\.|which is|nearest|to the nearest|to \d|with|for|by|from|using|note)(?![A-Za-z])|\\approx)"
    r"(?>(?:[^()]|\([^()]*\))*)\)\s?\}?\s?\Z|,?\s?(?:\\text\{\s?)?,?\s?(?<![A-Za-z])(?:since|because|approximately)(?![A-Za-z])"
    rf"(?!.{{0,200}}?{ALTERNATIVE}).*\Z",
    re.DOTALL | re.IGNORECASE,
)


@dataclass(frozen=True)
class Collection:
    """The items of a collection and its kind."""

    kind: str
    """`list` without brackets, `set`, the two brackets of a tuple or interval, or the shape of a matrix"""
    items: tuple[str, ...]
    alternatives: bool = False
    """whether "or" joins items of a list"""


def split(text: str, separator: re.Pattern[str]) -> list[str]:
    """Return the stripped pieces of `text` between separators outside all brackets."""
    pieces, start, place, depth = [], 0, 0, 0
    while place < len(text):
        match = separator.match(text, place) if depth == 0 else None
        if match and match.end() > place:
            pieces.append(text[start:place].strip())
            start = place = match.end()
            continue
        token = _TOKEN.match(text, place)
        assert token is not None
        depth += _DEPTH.get(token[0], 0)
        place = token.end()
    return [*pieces, text[start:].strip()]


def parts(text: str) -> Collection | None:
    """Return the parts of a collection or matrix, or None for anything else."""
    if (matrix := _MATRIX.fullmatch(text)) and "\\end" not in matrix["cells"]:
        return _matrix(matrix["cells"])
    opening = _enclosing(text)
    if opening:
        closing = "\\}" if text.endswith("\\}") else text[-1]
        inside = text[len(opening) : -len(closing)].strip()
        items = split(inside, COMMA)
        if opening == "\\{":
            return Collection("set", both_signs(items)) if closing == "\\}" and len(items) <= MAX_PARTS else None
        if not 1 < len(items) <= MAX_PARTS or not all(items):
            return None
        several = both_signs([text])
        return Collection("list", several) if len(several) > 1 else Collection(opening + closing, tuple(items))
    if _CONJUNCTION.search(text) and _DISJUNCTION.search(text):
        return None  # one proposition
    listed = both_signs(_solutions(_pieces(text)))
    return Collection("list", listed, len(split(text, _OR)) > 1) if 1 < len(listed) <= MAX_PARTS else None


def _pieces(text: str) -> list[str]:
    """Return the items of a list without brackets; semicolons separate lists of items."""
    pieces = split(text, _SEMICOLON)
    if len(pieces) == 1 or all(len(split(piece, SEPARATOR)) == 1 for piece in pieces):
        pieces = split(text, SEPARATOR)
    return [piece for piece in pieces if piece]


def _solutions(pieces: list[str]) -> list[str]:
    """Return the solutions in a list that repeats its names: x = 1, y = 2 and x = 3, y = 4 for these four; else `pieces`."""
    items = [item for piece in pieces for item in split(piece, SEPARATOR)]
    names = [named(item)[0] for item in items] if all("=" in item for item in items) else []
    size = names.index(names[0], 1) if names and names[0] in names[1:] else 0
    if size < 2 or not names[0] or len(set(names)) != size or names != names[:size] * (len(names) // size):
        return pieces
    return [", ".join(items[start : start + size]) for start in range(0, len(items), size)]


def restated_items(text: str) -> list[str]:
    """Return the items of a list that only "or" joins, which may state one value in several notations; else []."""
    items = split(text, _OR)
    return items if len(items) > 1 and all(items) and all(len(split(item, SEPARATOR)) == 1 for item in items) else []


def without_brackets(text: str) -> str:
    """Return `text` without outer parentheses, unless they enclose a collection."""
    while _enclosing(text) == "(" and text.endswith(")") and len(split(text[1:-1], COMMA)) == 1:
        text = text[1:-1].strip()
    return text


def _enclosing(text: str) -> str:
    """Return the bracket that opens at the beginning of `text` and closes at its end, or ""."""
    opening = next((bracket for bracket in ("\\{", "(", "[") if text.startswith(bracket)), "")
    if not opening or not text.endswith((")", "]", "\\}")):
        return ""
    depth = 0
    for token in _TOKEN.finditer(text):
        depth += _DEPTH.get(token[0], 0)
        if depth <= 0:
            return opening if token.end() == len(text) else ""
    return ""


def _matrix(cells: str) -> Collection | None:
    """Return the cells of a matrix row by row, or None if it is irregular or too large."""
    rows = [
        split(row, re.compile("&")) for row in split(cells.strip(), re.compile(r"\\\\|\\cr(?![A-Za-z])|\\hline(?![A-Za-z])"))
    ]
    rows = [row for row in rows if row != [""]]
    if not rows or len({len(row) for row in rows}) != 1 or len(rows) * len(rows[0]) > MAX_PARTS:
        return None
    return Collection(f"{len(rows)}x{len(rows[0])}", tuple(cell for row in rows for cell in row))


def both_signs(items: Iterable[str]) -> tuple[str, ...]:
    r"""Return `items` with each item that holds `\pm` or `\mp` replaced by its values.

    Several `\pm` have independent signs, up to `MAX_SIGNS` of them. With a `\mp`, or with more, all follow one sign.
    """
    both: list[str] = []
    for item in items:
        pieces = item.split("\\pm")
        if "\\mp" in item or len(pieces) > MAX_SIGNS + 1:
            values = [item.replace("\\pm", sign).replace("\\mp", other) for sign, other in ("+-", "-+")]
        else:
            signs = product("+-", repeat=len(pieces) - 1)
            values = ["".join(chain.from_iterable(zip(pieces, (*each, ""), strict=True))) for each in signs]
        both += [value.removeprefix("+").strip() for value in values] if len(values) > 1 else [item]
    return tuple(both)


def without_remark(text: str) -> str:
    """Return `text` without a trailing remark, such as "(approximately)" or "since 2+3=5"."""
    shorter = _REMARK.sub("", text).strip()
    return shorter + "}" * (shorter.count("{") - shorter.count("}")) or text


def named(text: str) -> tuple[str, str]:
    r"""Return the name and the value that `text` states, as in x = 5, f(x) = x^2 or x \in [0,1].

    Without a name, the name is "" and the value `text`. The value of a chain with a name is its last side, or the last one
    before an approximation.
    """
    if "=" not in text and "\\approx" not in text and "\\in" not in text:
        return "", text
    if len(member := split(text, _MEMBER)) == 2 and is_name(member[0]) and member[1]:
        return _squeezed(member[0]), member[1]
    sides = split(text, EQUALS)
    if len(sides) < 2 or not all(sides) or RELATION.search(text):
        return "", text
    if any(len(split(side, SEPARATOR)) > 1 for side in sides[:-1]):
        return "", text  # a list of several names
    exact = split(text.split("\\approx")[0].strip(), EQUALS)
    name = next((side for side in sides[:-1] if is_name(side)), None)
    if name is not None:
        return _squeezed(name), exact[-1] if len(exact) > 1 else sides[-1]
    if len(sides) == 2 and is_name(sides[1]):
        return _squeezed(sides[1]), sides[0]
    return "", text


def variables(text: str) -> set[str]:
    """Return the letters that `text` depends on: not those of commands, e and i, nor the index of a sum."""
    bound = {letter for match in _BOUND.findall(text) for letter in match}
    return set(_VARIABLE.findall(_COMMAND.sub(" ", text))) - bound - {"e", "i"}


def congruence(text: str) -> tuple[str, int] | None:
    r"""Return the residue and the modulus that `text` states, as x \equiv 5 \pmod 7 and 5 \pmod{7} do."""
    match = _CONGRUENCE.fullmatch(text)
    return (match["value"], int(match["modulus"])) if match else None


def is_name(text: str) -> bool:
    """Return whether `text` can name a quantity: x, f(x), f^{-1}(x), a_n, |AB|, (x, y), A:B; but not 2x, x+1, (x, x) or pi."""
    if not _NAME.fullmatch(text) or text in ("\\pi", "\\infty", "\\emptyset", "/", ":") or text[0] in "/:'":
        return False
    return not cannot_be_label(text)


def cannot_be_label(text: str) -> bool:
    """Return whether `text` names no value: it contains a negation, as in "not x", or is a tuple that repeats an item."""
    items = split(text[1:-1], COMMA) if text.startswith("(") and text.endswith(")") else []
    return len(set(items)) != len(items) or bool(_NEGATION.search(text))


def is_equation(text: str) -> bool:
    """Return whether `text` is one equation: it has `=` or `\\approx` outside all brackets."""
    return ("=" in text or "\\approx" in text) and len(split(text, EQUALS)) > 1 and len(split(text, SEPARATOR)) == 1


def _squeezed(text: str) -> str:
    """Return `text` without spaces and braces."""
    return text.replace(" ", "").replace("{", "").replace("}", "")


def alike(one: str, other: str) -> bool:
    """Return whether two texts differ only in spaces, except spaces between digits."""
    return one == other or _without_spaces(one) == _without_spaces(other)


_IDLE_SPACE = re.compile(r"(?<!\d) | (?![\d.])")


def _without_spaces(text: str) -> str:
    """Return `text` without spaces, except spaces between digits."""
    return _IDLE_SPACE.sub("", text)
