"""Comparison of two answers, from their parts down to the expressions that only algebra can compare.

A comparison returns True, False, or None if the `leaf`, which compares single expressions, cannot decide.
"""

from __future__ import annotations

import re
from enum import Enum, auto
from functools import partial
from itertools import pairwise
from typing import Final

from tandem.verify.approximation import approximates, is_approximation, rounds
from tandem.verify.collection import compare_collections
from tandem.verify.leaf import Leaf, all_of, any_of
from tandem.verify.naming import Y_OF_X, chained_names, named_values, names_of_tuple, spread_values, with_argument
from tandem.verify.numbers import same_number, with_decimal_comma
from tandem.verify.quantities import Quantity, read_quantity, same_unit, values
from tandem.verify.structure import (
    EQUALS,
    RELATION,
    alike,
    cannot_be_label,
    congruence,
    is_equation,
    is_name,
    named,
    parts,
    split,
    variables,
    without_brackets,
)
from tandem.verify.words import is_words, read_choice, read_date, read_time, same_choices, same_date, same_time, same_words

_REGION = re.compile(r"\\(?:cup|cap|setminus|notin|mathbb|mid)(?![A-Za-z])|\\\{[^{}]*[|:][^{}]*\\\}")
_APPROX = re.compile(r"\\approx(?![A-Za-z])")
_ONE_PLACE = re.compile(r"[-+]?\d+,\d")


def compare(gold: str, answer: str, leaf: Leaf) -> bool | None:
    """Return whether `answer` is equivalent to `gold`, or None if `leaf` cannot decide. Both texts are canonical."""
    if alike(gold, answer):
        return True
    if not gold or not answer:
        return False
    for settled in (_choices(gold, answer, leaf), _moments(gold, answer), _congruences(gold, answer, leaf)):
        if settled is not _UNSETTLED:
            return settled
    quantities = read_quantity(gold), read_quantity(answer)
    if (settled := _quantities(*quantities)) is not None:
        return settled
    if (settled := same_words(gold, answer)) is not None:
        return settled
    if any(one.number and is_words(other) for one, other in (zip(quantities, (answer, gold), strict=True))):
        return False
    for compared in (_several_named, _named):
        if (settled_by_name := compared(gold, answer, leaf)) is not _UNSETTLED:
            return settled_by_name
    if (radians := _in_radians(*quantities)) is not None:
        return leaf(*radians)
    if is_region(gold) or is_region(answer):
        return leaf(gold, answer)
    golds, answers = (None if one.number else parts(text) for one, text in zip(quantities, (gold, answer), strict=True))
    if golds or answers:
        return compare_collections(gold, answer, golds, answers, partial(compare, leaf=leaf), leaf)
    inner = without_brackets(gold), without_brackets(answer)
    if inner != (gold, answer):
        return compare(*inner, leaf)
    if is_equation(gold) or is_equation(answer):
        return _equations(gold, answer, leaf)
    if not same_unit(*quantities):
        return False
    if quantities[0].unit and quantities[1].unit and (ratio := quantities[1].factor / quantities[0].factor) != 1:
        scaled = f"({quantities[1].text}) \\cdot \\frac{{{ratio.numerator}}}{{{ratio.denominator}}}"
        return compare(quantities[0].text, scaled, leaf)
    if (quantities[0].text, quantities[1].text) != (gold, answer):
        return compare(quantities[0].text, quantities[1].text, leaf)
    return leaf(gold, answer)


def is_region(text: str) -> bool:
    """Return whether `text` describes numbers by relations or set operations, as in x < 2 or (0,1) \\cup (1,2)."""
    return bool(RELATION.search(text) or _REGION.search(text))


class _Unsettled(Enum):
    """Stand for no result: the texts are not of the kind that a comparison handles."""

    UNSETTLED = auto()


_UNSETTLED: Final = _Unsettled.UNSETTLED


def _choices(gold: str, answer: str, leaf: Leaf) -> bool | _Unsettled | None:
    """Compare the letters of choices; if only one side has a letter, compare the text after it."""
    if (several := same_choices(gold, answer)) is not None:
        return several
    gold_choice, answer_choice = read_choice(gold), read_choice(answer, leniently=True)
    if gold_choice and answer_choice:
        if gold_choice.letter != answer_choice.letter:
            return False
        return not gold_choice.rest or not answer_choice.rest or compare(gold_choice.rest, answer_choice.rest, leaf)
    if gold_choice and gold_choice.rest:
        return compare(gold_choice.rest, answer, leaf)
    if answer_choice and answer_choice.rest:
        return compare(gold, answer_choice.rest, leaf)
    return _UNSETTLED


def _moments(gold: str, answer: str) -> bool | _Unsettled | None:
    """Compare dates or times of day."""
    if (gold_date := read_date(gold)) and (answer_date := read_date(answer)):
        return same_date(gold_date, answer_date)
    if (gold_time := read_time(gold)) and (answer_time := read_time(answer)):
        return same_time(gold_time, answer_time)
    return _UNSETTLED


def _congruences(gold: str, answer: str, leaf: Leaf) -> bool | _Unsettled | None:
    """Compare residues; one side may omit the modulus."""
    one, other = congruence(gold), congruence(answer)
    if one and other:
        return one[1] == other[1] and (one[1] == 0 or (int(one[0]) - int(other[0])) % one[1] == 0)
    if one or other:
        return compare(one[0] if one else gold, other[0] if other else answer, leaf)
    return _UNSETTLED


def _quantities(gold: Quantity, answer: Quantity) -> bool | None:
    """Compare plain numbers with or without units. In 1,22 the comma may be decimal; a gold such as 1,2 is a list."""
    if gold.number and answer.number:
        return same_unit(gold, answer) and any(same_number(*pair) for pair in values(gold, answer))
    if gold.number and gold.number.decimals and (number := with_decimal_comma(answer.text)):
        return same_number(gold.number, number)
    if answer.number and answer.number.decimals and not _ONE_PLACE.fullmatch(gold.text):
        number = with_decimal_comma(gold.text)
        return same_number(number, answer.number) if number else None
    return None


def _several_named(gold: str, answer: str, leaf: Leaf) -> bool | _Unsettled | None:
    """Compare values of which one side states several with a chain, x = y = 2, or with a tuple, (x, y) = (2, 3)."""
    golds, answers = spread_values(gold), spread_values(answer)
    if golds is None and answers is None:
        return _UNSETTLED
    if (names := chained_names(gold)) and sorted(names) == sorted(chained_names(answer)):
        return True
    named_golds, named_answers = named_values(gold), named_values(answer)
    if len(named_golds) > 1 and len(named_answers) > 1:
        if named_golds.keys() != named_answers.keys():
            return False
        return all_of(compare(value, named_answers[name], leaf) for name, value in named_golds.items())
    if names_of_tuple(gold) or names_of_tuple(answer):  # the other side is a tuple or has one name, as in P = (2, 3)
        return compare(named(gold)[1], named(answer)[1], leaf)
    if chained_names(gold) and is_equation(answer):
        return False
    if (listed := parts(answer if golds else gold)) and listed.kind in ("()", "list"):
        return compare_collections(gold, answer, golds or listed, answers or listed, partial(compare, leaf=leaf), leaf)
    return _UNSETTLED


def _named(gold: str, answer: str, leaf: Leaf) -> bool | _Unsettled | None:
    """Compare values without the name before one of them, or the common name before both."""
    (gold_name, gold_value), (answer_name, answer_value) = named(gold), named(answer)
    if gold_name and answer_name:
        if gold_name == answer_name or {gold_name, answer_name} in Y_OF_X or _one_function(gold_name, answer_name):
            return compare(gold_value, answer_value, leaf)
        if renamed := with_argument(gold_name, answer_name, answer_value):
            return compare(gold_value, renamed, leaf)
        return False if parts(gold_value) or parts(answer_value) else leaf(gold, answer)
    if gold_name and not is_equation(answer):
        return compare(gold_value, answer, leaf)
    if (
        answer_name
        and (listed := parts(gold))
        and listed.kind == "list"
        and {named(i)[0] for i in listed.items} == {answer_name}
    ):
        return compare(gold, answer_value, leaf)
    if not is_equation(gold) and is_equation(answer) and len(split(answer, RELATION)) == 1:
        return _equations(gold, answer, leaf)
    if answer_name and not is_equation(gold):
        return compare(gold, answer_value, leaf)
    return _UNSETTLED


def _one_function(one: str, other: str) -> bool:
    """Return whether one name is the other with its argument, as y and y(t)."""
    name, function = sorted((one, other), key=len)
    return len(name) == 1 and bool(re.fullmatch(rf"{re.escape(name)}\([a-z]\)", function))


_MAX_ENCLOSED = 2
"""Equals signs within brackets, as in sums. Each side is compared twice, so every nested equation doubles the time."""


def _equations(gold: str, answer: str, leaf: Leaf) -> bool | None:
    r"""Compare equations that are no names. If only the answer is an equation and it holds, its value is its last side.

    Sides in other variables than the value count as names of it. An approximation states the answer only if it is the only
    one, the correct rounding of the exact value and within 1 % of it: the gold 1 is not \sqrt2 \approx 1.
    """
    gold_sides, sides = split(gold, EQUALS), split(answer, EQUALS)
    if len(gold_sides) > 1 and "\\approx" in gold and "=" not in gold:
        return any_of(compare(side, answer, leaf) for side in gold_sides)
    enclosed = len(EQUALS.findall(answer)) - len(sides) + 1
    if len(gold_sides) > 1 or not all(sides) or enclosed > _MAX_ENCLOSED:
        return leaf(gold, answer)
    groups = [split(group, EQUALS) for group in split(answer, _APPROX)]
    if len(sides) == 2 and not _labels(*sides) and _labels(*reversed(sides)):
        sides.reverse()
        groups = [group[::-1] for group in reversed(groups)]
    value = groups[0][-1] if len(groups[0]) > 1 else sides[-1]
    groups[0] = [side for side in groups[0] if side == value or not _labels(side, value)]
    exact, *rough = groups if groups[0] else groups[1:]
    states = compare(gold, exact[-1], leaf)
    if len(rough) == 1 and states is not True and (states_rough := compare(gold, rough[0][-1], leaf)) is not False:
        pair = exact[-1], rough[0][-1]
        states = any_of([states, all_of([states_rough, approximates(*pair, leaf), rounds(*pair, leaf)])])
    if states is False or (len(sides) == 2 and not rough and _counts_down(*sides)):
        return states
    holds = [compare(side, group[-1], leaf) for group in (exact, *rough) for side in group[:-1]]
    steps = [exact[-1], *(group[-1] for group in rough)]
    near = [is_approximation(steps[0], step, leaf) for step in steps[1:]]
    near += [approximates(*pair, leaf) for pair in pairwise(steps[1:])]
    return all_of([states, *holds, *near])


def _labels(side: str, value: str) -> bool:
    """Return whether `side` can only name `value`, as x, m+n, |a-b| or \\sin A name a number; y-1 = 2x is no name."""
    if is_name(side):
        return True
    if cannot_be_label(side):
        return False
    letters, others = (variables(read_quantity(text).text) for text in (side, value))
    return bool(letters - others) and not (letters & _COORDINATES and others & _COORDINATES)


_COORDINATES = {"x", "y", "z"}
_CHOICES = 4


def _counts_down(label: str, value: str) -> bool:
    """Return whether `label` may be the number of a choice and `value` the next lower number, as in 4=3."""
    return label.isdecimal() and value.isdecimal() and 0 < int(value) == int(label) - 1 < _CHOICES


def _in_radians(gold: Quantity, answer: Quantity) -> tuple[str, str] | None:
    r"""Return the texts of two angles in radians, if one is in degrees and the other in radians; else None.

    A multiple of \pi counts as an angle only if the gold is in degrees: as a gold it may be an area.
    """
    if gold.unit == "degree" and (answer.unit == "radian" or (not answer.unit and "\\pi" in answer.text)):
        return f"({gold.text}) \\cdot \\frac{{\\pi}}{{180}}", answer.text
    if gold.unit == "radian" and answer.unit == "degree":
        return gold.text, f"({answer.text}) \\cdot \\frac{{\\pi}}{{180}}"
    return None
