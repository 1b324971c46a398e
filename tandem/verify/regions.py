r"""Sets of real numbers: intervals, unions, inequalities, set-builder notation.

x < 2, (-\infty, 2) and \{x \mid x < 2\} are the same region.

All texts are canonical (`tandem.verify.spelling`). Inequalities that are not solved for their variable are solved by sympy.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from sympy import (
    And,
    Complement,
    EmptySet,
    Eq,
    Expr,
    FiniteSet,
    Ge,
    Gt,
    Integers,
    Intersection,
    Interval,
    Le,
    Lt,
    Naturals,
    Ne,
    Rationals,
    Reals,
    S,
    Set,
    Union,
    oo,
)

from tandem.verify.algebra import constant_ratio, same_expression
from tandem.verify.guards import Unparsable
from tandem.verify.latex import read
from tandem.verify.points import with_real_roots, without_functions
from tandem.verify.structure import AND_OR, COMMA, EQUALS, RELATION, both_signs, is_name, split

_LITERALS = {
    "\\mathbb{R}": Reals,
    "\\mathbb{Z}": Integers,
    "\\mathbb{N}": Naturals,
    "\\mathbb{Q}": Rationals,
    "\\emptyset": EmptySet,
}
_UNION, _INTERSECTION = (
    re.compile(r"\\cup(?![A-Za-z])|\\lor(?![A-Za-z])|(?:\\text\{\s?)?(?<![A-Za-z])or(?![a-z])\s?\}?"),
    re.compile(r"\\cap(?![A-Za-z])|\\land(?![A-Za-z])|(?:,\s?)?(?:\\text\{\s?)?(?<![A-Za-z])and(?![a-z])\s?\}?"),
)
_MINUS = re.compile(r"\\setminus(?![A-Za-z])|(?<=\})\s?-(?=\s?\\\{)|(?<=\})\s?\\(?=\s?\\\{)")
_MEMBER = re.compile(r"\\(?:not\s?\\)?(?:in|notin)(?![A-Za-z])")
_RELATIONS = re.compile(r"<|>|\\leq(?![A-Za-z])|\\geq(?![A-Za-z])|\\neq(?![A-Za-z])|=")
_BUILDER = re.compile(r"\\\{(?P<element>.*?)(?:\\mid(?![A-Za-z])|\||:(?!=))(?P<condition>.*)\\\}", re.DOTALL)
_INTERVAL = re.compile(r"(?P<left>[(\[\]])(?P<inside>.*)(?P<right>[)\]\[])", re.DOTALL)
_MIRRORED = {"<": ">", ">": "<", "\\leq": "\\geq", "\\geq": "\\leq", "\\neq": "\\neq", "=": "="}


@dataclass(frozen=True)
class Region:
    """A set of real numbers and its variable, or None if the text names no variable."""

    numbers: Set
    variable: Expr | None


def same_region(gold: str, answer: str) -> bool:
    """Return whether two texts describe the same numbers. Raises `Unparsable` when the answer describes none."""
    several = _several_variables(gold), _several_variables(answer)
    if all(several):
        return _same_half_space(gold, answer)
    one = _region_or_none(gold)
    try:
        other = region(answer)
    except Unparsable:
        if one is None or RELATION.search(answer):
            raise
        return False
    if one is None or (one.variable is not None and other.variable is not None and one.variable != other.variable):
        return False
    return _same_set(one.numbers, other.numbers)


def _region_or_none(text: str) -> Region | None:
    """Return `region(text)`, or None when `text` describes none."""
    try:
        return region(text)
    except Unparsable:
        return None


def region(text: str) -> Region:
    """Return the numbers that `text` describes. Raises `Unparsable` when it describes none."""
    text = text.strip()
    if "\\pm" in text and RELATION.search(text):
        return _conditions(list(both_signs([text])))
    for separator, operation in ((_UNION, Union), (_INTERSECTION, Intersection), (_MINUS, Complement)):
        pieces = split(text, separator)
        if len(pieces) > 1 and all(pieces):
            regions = [region(piece) for piece in pieces]
            variables = {part.variable for part in regions if part.variable is not None}
            numbers = operation(*(part.numbers for part in regions))
            if len(variables) > 1:
                raise Unparsable(f"several variables: {text!r}")
            if operation is Intersection and numbers.is_empty and AND_OR.search(text):
                numbers = Union(*(part.numbers for part in regions))  # x < 1 and x > 2 are two parts of one solution
            return Region(numbers, next(iter(variables), None))
    if text.replace(" ", "") in _LITERALS:
        return Region(_LITERALS[text.replace(" ", "")], None)
    member = split(text, _MEMBER)
    if len(member) == 2 and is_name(member[0]):
        inside = region(member[1]).numbers
        return Region(Complement(Reals, inside) if "\\not" in text else inside, read(member[0]))
    if builder := _BUILDER.fullmatch(text):
        return _built(builder["element"], builder["condition"])
    if text.startswith("\\{") and text.endswith("\\}"):
        return Region(FiniteSet(*(_number(item) for item in split(text[2:-2], COMMA))), None)
    if (interval := _INTERVAL.fullmatch(text)) and len(ends := split(interval["inside"], COMMA)) == 2:
        left, right = map(_number, ends)
        return Region(Interval(left, right, interval["left"] != "[", interval["right"] != "]"), None)
    pieces = split(text, COMMA)
    if len(pieces) > 1 and any(RELATION.search(piece) for piece in pieces):
        return _conditions(pieces)
    if RELATION.search(text) or EQUALS.search(text):
        return _relation(text)
    return Region(FiniteSet(_number(text)), None)


def _built(element: str, condition: str) -> Region:
    """Return the region of set-builder notation."""
    name = split(element, _MEMBER)
    result = _relation(condition.strip()) if "\\in" not in condition and _RELATIONS.search(condition) and not (
        len(split(condition, COMMA)) > 1 or _UNION.search(condition) or _INTERSECTION.search(condition)
    ) else region(condition)  # fmt: skip
    if result.variable is not None and result.variable != read(name[0]):
        raise Unparsable(f"the condition is not on {name[0]}: {condition!r}")
    numbers = Intersection(result.numbers, region(name[1]).numbers) if len(name) == 2 else result.numbers
    return Region(numbers, None)


def _conditions(pieces: list[str]) -> Region:
    """Return the region where all conditions hold, or their union if they exclude each other."""
    first, relation = next((place, match) for place, piece in enumerate(pieces) if (match := RELATION.search(piece)))
    head = pieces[first][: relation.end()]
    complete = [bool(RELATION.search(piece) or EQUALS.search(piece) or "\\in" in piece) for piece in pieces]
    if not all(complete[: first + 1]) or (not all(complete) and relation[0] != "\\neq"):
        raise Unparsable(f"numbers beside a relation: {pieces!r}")
    regions = [region(piece if whole else f"{head} {piece}") for piece, whole in zip(pieces, complete, strict=True)]
    if len({part.variable for part in regions if part.variable is not None}) != 1:
        raise Unparsable(f"several variables: {pieces!r}")
    numbers = Intersection(*(part.numbers for part in regions))
    if numbers.is_empty:
        numbers = Union(*(part.numbers for part in regions))
    return Region(numbers, regions[0].variable)


def _relation(text: str) -> Region:
    """Return the region of a chain of relations in one variable."""
    operands = split(text, _RELATIONS)
    operators = [match[0] for match in _RELATIONS.finditer(text)]
    if len(operators) != len(operands) - 1 or not all(operands):
        raise Unparsable(f"not a chain of relations: {text!r}")
    sides = [_number(operand) for operand in operands]
    symbols = set().union(*(side.free_symbols for side in sides))
    # The variable of a < x < b is x, whatever a and b are; otherwise there must be exactly one.
    alone = [side for side in sides if side.is_Symbol]
    middle = sides[1] if len(sides) == 3 and sides[1].is_Symbol else alone[0] if len(alone) == 1 else None
    variable = middle if middle is not None else next(iter(symbols)) if len(symbols) == 1 else None
    if variable is None:
        raise Unparsable(f"several variables or none: {text!r}")
    numbers: Set = Reals
    for left, operator, right in zip(sides, operators, sides[1:], strict=False):
        numbers = Intersection(numbers, _solution(left, operator, right, variable))
    return Region(numbers, variable)


def _solution(left: Expr, operator: str, right: Expr, variable: Expr) -> Set:
    """Return the values of `variable` that satisfy a relation. Raises `Unparsable` when it cannot be solved."""
    if right == variable and not left.has(variable):
        left, operator, right = right, _MIRRORED[operator], left
    if left == variable and not right.has(variable):
        return {
            "<": lambda: Interval.open(-oo, right),
            ">": lambda: Interval.open(right, oo),
            "\\leq": lambda: Interval(-oo, right),
            "\\geq": lambda: Interval(right, oo),
            "\\neq": lambda: Complement(Reals, FiniteSet(right)),
            "=": lambda: FiniteSet(right),
        }[operator]()
    if {*left.free_symbols, *right.free_symbols} != {variable}:
        raise Unparsable("an inequality in several variables")
    relation = {"<": Lt, ">": Gt, "\\leq": Le, "\\geq": Ge, "\\neq": Ne, "=": Eq}[operator](left, right)
    try:
        solved = And(relation).as_set() if relation not in (True, False) else (Reals if relation else EmptySet)
    except (NotImplementedError, ValueError, TypeError, AttributeError) as error:
        raise Unparsable(f"an inequality that cannot be solved: {left} {operator} {right}") from error
    return solved


def _number(text: str) -> Expr:
    """Return the exact expression in `text`. Raises `Unparsable` when it is none."""
    expression = read(text.strip())
    if not isinstance(expression, Expr):
        raise Unparsable(f"no number: {expression}")
    return with_real_roots(without_functions(expression), {})


def _same_set(gold: Set, answer: Set) -> bool:
    """Return whether two sets are equal; ends are compared as expressions. Complex numbers make no region."""
    if gold == answer:
        return True
    try:
        golds, answers = _pieces(gold), _pieces(answer)
        if golds is not None and answers is not None:
            return len(golds) == len(answers) and all(map(_same_piece, golds, answers))
        return bool(gold.symmetric_difference(answer).is_empty)
    except (NotImplementedError, TypeError, ValueError):
        return False


def _pieces(numbers: Set) -> list[Set] | None:
    """Return the intervals and points of a union from left to right, or None if it has other parts."""
    if isinstance(numbers, Complement):
        numbers = numbers.doit() if not numbers.free_symbols else numbers
    pieces: list[Set] = []
    for piece in numbers.args if isinstance(numbers, Union) else [numbers]:
        if isinstance(piece, FiniteSet):
            pieces += map(FiniteSet, piece.args)
        elif isinstance(piece, Interval):
            pieces.append(piece)
        elif piece is S.Reals:
            pieces.append(Interval.open(-oo, oo))
        elif piece is S.EmptySet:
            continue
        else:
            return None
    if numbers.free_symbols:
        return pieces if len(pieces) == 1 else None
    return sorted(pieces, key=lambda piece: float(piece.inf))


def _same_piece(gold: Set, answer: Set) -> bool:
    """Return whether two intervals or points are equal."""
    if isinstance(gold, Interval) != isinstance(answer, Interval):
        return False
    if isinstance(gold, Interval):
        if (gold.left_open, gold.right_open) != (answer.left_open, answer.right_open):
            return False
        return same_expression(gold.start, answer.start) and same_expression(gold.end, answer.end)
    return same_expression(gold.args[0], answer.args[0])


def _several_variables(text: str) -> bool:
    """Return whether `text` is one inequality in several variables."""
    operands = split(text, RELATION)
    if len(operands) != 2 or any(len(split(text, joint)) > 1 for joint in (COMMA, EQUALS, _UNION, _INTERSECTION)):
        return False
    try:
        return len(set().union(*(read(operand).free_symbols for operand in operands if operand))) > 1
    except (Unparsable, AttributeError):
        return False


def _same_half_space(gold: str, answer: str) -> bool:
    """Return whether two inequalities differ by a positive factor."""
    differences, operators = [], []
    for text in (gold, answer):
        left, right = map(_number, split(text, RELATION))
        relation = RELATION.search(text)
        assert relation is not None
        operator = relation[0]
        if operator in (">", "\\geq"):
            left, right, operator = right, left, _MIRRORED[operator]
        differences.append(left - right)
        operators.append(operator)
    ratio = constant_ratio(differences)
    return operators[0] == operators[1] and ratio is not None and bool(ratio > 0 or operators[0] == "\\neq")
