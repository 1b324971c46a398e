"""Values with several names: x = y = 2 states x = 2 and y = 2, and (x, y) = (2, 3) states x = 2 and y = 3.

All texts are canonical (`tandem.verify.spelling`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from tandem.verify.structure import EQUALS, RELATION, SEPARATOR, Collection, is_name, named, parts, split

_VARIABLE = re.compile(r"(?:[A-Za-z]|\\[a-z]+)(?:_(?:\w|\{\w{1,9}\}))?'*")
_TUPLE = re.compile(r"\((?P<names>[^()]+)\)")
_COMMA = re.compile(r",\s?")
_ORDERED = re.compile(r"(?P<letter>[A-Za-z])(?:_(?P<index>\d{1,3}))?")

Y_OF_X = ({"y", "f(x)"}, {"y", "y(x)"})
"""Names of one quantity."""
_INDEX = re.compile(r"_[1-9]\Z")
_FUNCTION = re.compile(r"([A-Za-z])\(([A-Za-z])\)")


def chained_names(text: str) -> list[str]:
    """Return the sides of a chain in which all sides, except perhaps the last, are different variables; else []."""
    sides = _sides(text)
    names = sides[:-1]
    return sides if len(names) > 1 and len(set(names)) == len(names) and all(map(_is_variable, names)) else []


def names_of_tuple(text: str) -> list[str]:
    """Return the names in an equation such as (x, y) = (2, 3), or [] for anything else."""
    sides = _sides(text)
    match = _TUPLE.fullmatch(sides[0]) if len(sides) == 2 else None
    names = _COMMA.split(match["names"].strip()) if match else []
    values = parts(sides[1]) if len(set(names)) == len(names) > 1 else None
    fits = values is not None and values.kind == "()" and len(values.items) == len(names)
    return names if fits and all(map(_is_variable, names)) else []


def named_values(text: str) -> dict[str, str]:
    """Return the values in `text` by their names; {} if a value has no name, a name has several values, or "or" joins them."""
    values: dict[str, str] = {}
    if (listed := parts(text)) and listed.alternatives:
        return {}
    for item in _items(text):
        pairs = _pairs(item)
        if not pairs or not values.keys().isdisjoint(pairs):
            return {}
        values |= pairs
    return values


def spread_values(text: str) -> Collection | None:
    """Return the list x = 2, y = 2 for x = y = 2, and x = 2, y = 3 for (x, y) = (2, 3); None if no value has several names."""
    items = _items(text)
    values = named_values(text) if any(chained_names(item) or names_of_tuple(item) for item in items) else {}
    return Collection("list", tuple(f"{name} = {value}" for name, value in values.items())) if values else None


def sorted_by_name(items: Sequence[str]) -> Sequence[str]:
    """Return named values in the order of their names, if these are neighbors such as x, y, z or a_1, a_2; else `items`."""
    names = [_ORDERED.fullmatch(named(item)[0]) for item in items]
    keys = [(name["letter"], int(name["index"] or 0)) for name in names if name]
    places = sorted((ord(letter), index) for letter, index in keys)
    first = places[0] if places else (0, 0)
    letters = [(first[0] + place, 0) for place in range(len(items))]
    indices = [(first[0], first[1] + place) for place in range(len(items))]
    if len(keys) != len(items) or places not in (letters, indices):
        return items
    return [item for _, item in sorted(zip(keys, items, strict=True))]


def with_argument(gold_name: str, answer_name: str, value: str) -> str | None:
    """Return the value of a function with the gold's argument letter, or None if the names also differ otherwise."""
    gold, answer = _FUNCTION.fullmatch(gold_name), _FUNCTION.fullmatch(answer_name)
    if not gold or not answer or gold[1] != answer[1] or re.search(rf"(?<![\\A-Za-z]){gold[2]}(?![A-Za-z])", value):
        return None
    return re.sub(rf"(?<![\\A-Za-z]){answer[2]}(?![A-Za-z])", gold[2], value)


def names_order(golds: Sequence[str], answers: Sequence[str]) -> bool:
    """Return whether one list names different quantities and the other gives only values, so that order matters."""
    names = [unknowns(items) for items in (golds, answers)]
    return any(len(one) > 1 and other == {""} for one, other in (names, reversed(names)))


def unknowns(items: Sequence[str]) -> set[str]:
    """Return the names of named values, without the indices that count the solutions of one unknown; "" for a bare value."""
    return {_INDEX.sub("", named(item)[0]) for item in items}


def _items(text: str) -> Sequence[str]:
    """Return the items of a list, or `text` itself."""
    listed = parts(text)
    return listed.items if listed and listed.kind == "list" else [text]


def _pairs(item: str) -> dict[str, str]:
    """Return the names and values of one item of a list, or {} if it has no name."""
    if sides := chained_names(item):
        return dict.fromkeys(map(_bare, sides[:-1]), sides[-1])
    if names := names_of_tuple(item):
        values = parts(_sides(item)[1])
        assert values is not None
        return dict(zip(map(_bare, names), values.items, strict=True))
    name, value = named(item)
    return {name: value} if name else {}


def _is_variable(name: str) -> bool:
    """Return whether `name` is one letter, perhaps with an index, and no constant such as \\pi."""
    return bool(_VARIABLE.fullmatch(name)) and is_name(name)


def _sides(text: str) -> list[str]:
    """Return the sides of one exact equation or chain, or [] for anything else."""
    if "=" not in text or "\\approx" in text or RELATION.search(text) or len(split(text, SEPARATOR)) > 1:
        return []
    sides = split(text, EQUALS)
    return sides if all(sides) else []


def _bare(name: str) -> str:
    """Return `name` as `named` returns it."""
    return name.replace(" ", "").replace("{", "").replace("}", "")
