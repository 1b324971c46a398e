"""Comparison of lists, sets, tuples, intervals and matrices."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import chain

from tandem.verify.leaf import Leaf, all_of, any_of
from tandem.verify.naming import names_order, sorted_by_name, unknowns
from tandem.verify.numbers import read_number
from tandem.verify.quantities import counted_things, read_quantity
from tandem.verify.structure import EQUALS, Collection, is_equation, is_name, named, restated_items, split, variables

_BARE_LIST = re.compile(r",(?! )")
_FUNCTION = re.compile(
    r"\\(?!frac|sqrt|cdot|times|alpha|beta|gamma|delta|theta|lambda|sigma|omega|phi|psi|rho)[a-z]{3}|[A-Za-z]'*\(|[|_]"
)
"""A sign of a label that names a value of a function, an absolute value or an indexed quantity."""

Compare = Callable[[str, str], bool | None]
"""Comparison of two items, None if it cannot decide."""


def compare_collections(
    gold: str, answer: str, golds: Collection | None, answers: Collection | None, same: Compare, leaf: Leaf
) -> bool | None:
    """Compare two texts of which at least one is a collection. `same` compares items, and `leaf` matrices as expressions."""
    if (golds is None) != (answers is None) and (restated := restated_items(answer if answers else gold)):
        pairs = ((gold, item) if answers else (item, answer) for item in restated)
        return all_of(same(*pair) for pair in pairs)
    golds = golds or _listed(gold, answers)
    answers = answers or _listed(answer, golds)
    if golds is None or answers is None:
        collection, other = (golds, answer) if golds else (answers, gold)
        if collection and collection.kind == "set" and len(collection.items) == 1:
            return same(gold, collection.items[0]) if answers else same(collection.items[0], other)
        if collection and "x" in collection.kind:
            return leaf(gold, answer)
        return False
    kinds = {golds.kind, answers.kind}
    if kinds != {"list"} and (pair := _without_braces(golds, answers, gold, answer)):
        return same(*pair)
    if _mixes_connectives(golds, answers, gold, answer) or _leaves_unsolved(golds.items, answers.items):
        return False
    in_order = answers.items if any(named(item)[0] for item in golds.items) else sorted_by_name(answers.items)
    if kinds <= {"list", "set"} or (golds.kind == "list" and answers.kind == "[]"):
        if kinds == {"list"} and names_order(golds.items, answers.items):
            return _all_same(golds.items, in_order, same)
        return _same_set(golds.items, answers.items, same)
    vectors = {kind for kind in kinds if kind in ("()", "list") or kind.endswith("x1") or kind.startswith("1x")}
    if len(kinds) == 1 or (vectors == kinds and "()" in kinds):
        return _all_same(golds.items, in_order, same)
    return False


def _without_braces(golds: Collection, answers: Collection, gold: str, answer: str) -> tuple[str, str] | None:
    """Return both texts without braces, if one is a set of a single tuple or interval and the other is a tuple or interval.

    Return None otherwise. Such a set is \\{(1,2)\\}.
    """
    for one, other in ((golds, answers), (answers, golds)):
        if one.kind == "set" and len(one.items) == 1 and other.kind[0] in "([":
            return (one.items[0], answer) if one is golds else (gold, one.items[0])
    return None


def _mixes_connectives(golds: Collection, answers: Collection, gold: str, answer: str) -> bool:
    """Return whether one side joins by "or" what the other side holds together: a tuple, several names, or p \\land q."""
    for one, other, text in ((golds, answers, answer), (answers, golds, gold)):
        if one.alternatives and not other.alternatives:
            several = any(len(unknowns(side.items) - {""}) > 1 for side in (one, other))
            if other.kind == "()" or several or "\\land" in text:
                return True
    return False


def _listed(text: str, other: Collection | None) -> Collection | None:
    """Return `text` as a list, its commas read as separators of items, if `other` is a list or set; else None."""
    number = read_number(text)
    if other and other.kind in ("list", "set") and number and number.lists:
        return Collection("list", tuple(_BARE_LIST.split(text)))
    return None


def _all_same(golds: Sequence[str], answers: Sequence[str], same: Compare) -> bool | None:
    """Compare two lists item by item."""
    if len(golds) != len(answers):
        return False
    return all_of(same(gold, answer) for gold, answer in zip(golds, answers, strict=True))


def _same_set(golds: Sequence[str], answers: Sequence[str], same: Compare) -> bool | None:
    """Compare two lists in any order: item by item, or, if one repeats values, by whether each has all values of the other."""
    if counted := _by_counter(golds, answers):
        return all_of(same(gold, answer) for gold, answer in counted)
    if len(golds) == len(answers):
        return _same_items(golds, list(answers), same)
    forth = (any_of(same(gold, answer) for answer in answers) for gold in golds)
    back = (any_of(same(gold, answer) for gold in golds) for answer in answers)
    return all_of(chain(forth, back))


def _same_items(golds: Sequence[str], answers: list[str], same: Compare) -> bool | None:
    """Return whether the items of two lists pair off; None if `same` cannot decide about a pair that this needs."""
    for gold in golds:
        unknown = False
        for place, answer in enumerate(answers):
            if result := same(gold, answer):
                answers.pop(place)
                break
            unknown |= result is None
        else:
            return None if unknown else False
    return True


def _by_counter(golds: Sequence[str], answers: Sequence[str]) -> list[tuple[str, str]]:
    """Return the pairs of items that count the same things, as in 2 boys and 3 girls; [] if items may stand in any order.

    One side may omit words, as in 2 red for 2 red balls. Items that count other things on each side are paired in order.
    """
    golds_of, answers_of = ([counted_things(item) for item in items] for items in (golds, answers))
    if not all((*golds_of, *answers_of)) or len(golds) != len(answers) or len(set(golds_of)) != len(golds):
        return []
    paired = [[item for item, other in zip(answers, answers_of, strict=True) if other == things] for things in golds_of]
    if not all(paired):
        if not all(read_quantity(item).number for item in golds):
            return []  # products of variables
        paired = [
            [item for item, other in zip(answers, answers_of, strict=True) if things <= other or other <= things]
            for things in golds_of
        ]
    unique = [items[0] for items in paired if len(items) == 1]
    in_order = len(set(unique)) != len(golds)
    return list(zip(golds, answers if in_order else unique, strict=True))


def _leaves_unsolved(golds: Sequence[str], answers: Sequence[str]) -> bool:
    """Return whether the answers hold an equation that is not solved, while the gold states values and holds none."""
    return any(map(_is_unsolved, answers)) and not all(map(is_equation, golds)) and not any(map(_is_unsolved, golds))


def _is_unsolved(item: str) -> bool:
    """Return whether `item` is an equation in one variable that is not solved for it, as in 2x = 1 or x^2 = 4."""
    sides = split(item, EQUALS)
    label = sides[0]
    if len(sides) != 2 or is_name(label) or _FUNCTION.search(label):
        return False
    return len(variables(label)) == 1 and not variables(read_quantity(sides[1]).text)
