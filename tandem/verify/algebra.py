r"""Expressions and equations, read by `tandem.verify.latex` and compared at points.

Two expressions are equal if their values agree to 20 digits at fixed random points, wherever both are real (or, if they are
real nowhere, wherever both have values). Two equations are equal if the differences of their sides have a constant ratio
there. Unlike simplification this ends soon, and it distinguishes x from |x|, which agree for positive numbers only. The n of
(-1)^n, \lfloor n/2\rfloor or \cos n\pi stands for natural numbers.

Rational numbers are compared exactly, and decimals are rational. A side with decimals may be rounded, to `TOLERANCE`, only if
the other holds an irrational constant or is a fraction without a finite decimal; in polynomials this holds for each
coefficient.

All texts are canonical (`tandem.verify.spelling`). On a hostile text any function here may never end or use all memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import islice
from typing import Any

from sympy import (
    Eq,
    Expr,
    Function,
    I,
    Integer,
    Integral,
    MatrixBase,
    NumberSymbol,
    Poly,
    Pow,
    fraction,
    nan,
    oo,
    preorder_traversal,
    simplify,
    together,
    zoo,
)

from tandem.verify.kinks import kink_points
from tandem.verify.latex import evaluated
from tandem.verify.numbers import TOLERANCE, terminates
from tandem.verify.points import (
    DIGITS,
    SAME,
    integer_points,
    integer_variables,
    near,
    points,
    value_at,
    with_real_roots,
    without_functions,
)

ROUGHLY = 1e-2
"""Largest relative error of an approximation."""
_POINTS = 5
_MAX_POINTS = 12


Decimals = tuple[bool, bool]
"""Whether the gold and the answer are written with decimals, which may be rounded."""


def same_expression(gold: Any, answer: Any, roughly: bool = False, decimals: Decimals = (False, False)) -> bool:
    """Return whether two results of `read` are equal; `roughly` allows one to approximate the other."""
    if isinstance(gold, MatrixBase) or isinstance(answer, MatrixBase):
        same_shape = isinstance(gold, MatrixBase) and isinstance(answer, MatrixBase) and gold.shape == answer.shape
        return same_shape and all(
            same_expression(*pair, roughly, decimals) for pair in zip(gold.flat(), answer.flat(), strict=True)
        )
    if isinstance(gold, Eq) and isinstance(answer, Eq):
        return _same_equation(gold, answer, decimals)
    if not isinstance(gold, Expr) or not isinstance(answer, Expr):
        return bool(gold == answer)
    if any(value.has(nan, zoo) for value in (gold, answer)):
        return False
    if gold == answer:
        return True
    if gold.has(oo) or answer.has(oo):
        return False
    answer = _with_constant_of(gold, answer)
    tolerance = ROUGHLY if roughly else _tolerance(gold, answer, decimals)
    if gold.is_Rational and answer.is_Rational and tolerance == SAME:
        return False
    if tolerance > SAME and (pairs := _coefficients(gold, answer)):
        return all(_agree(*pair, tolerance) for pair in pairs)
    agreement = _agree(gold, answer, tolerance)
    if agreement is None:
        return bool(simplify(gold - answer) == 0)
    return agreement


def _with_constant_of(gold: Expr, answer: Expr) -> Expr:
    """Return `answer` with the gold's constant of integration, C or c, if it has the other one, and both are sums with it."""
    in_gold, in_answer = ({symbol.name: symbol for symbol in value.free_symbols} for value in (gold, answer))
    others = (in_gold.keys() | in_answer.keys()) - {"C", "c"}
    if not others or any(name in ("a", "b") or name.isupper() for name in others):
        return answer  # a coefficient, a point or an angle
    constants = [values.keys() & {"C", "c"} for values in (in_gold, in_answer)]
    if any(len(names) != 1 for names in constants) or constants[0] == constants[1]:
        return answer
    ours, theirs = in_gold[constants[0].pop()], in_answer[constants[1].pop()]
    return answer.xreplace({theirs: ours}) if gold.diff(ours) == answer.diff(theirs) == 1 else answer


def _tolerance(gold: Any, answer: Any, decimals: Decimals) -> float:
    """Return the relative tolerance: decimals are exact, unless the other side has no finite decimal."""
    rounded = (decimals[0] and _has_no_decimal(answer)) or (decimals[1] and _has_no_decimal(gold))
    return float(TOLERANCE) if rounded else SAME


def _has_no_decimal(expression: Any) -> bool:
    """Return whether `expression` holds a constant such as \\pi, \\sqrt{2} or \\ln 3, or is a fraction such as 1/3."""
    if expression.is_Rational:
        return not terminates(Fraction(expression.p, expression.q))
    numbers = (part for part in preorder_traversal(expression) if part.is_number and not part.is_Rational)
    return any(isinstance(part, NumberSymbol | Pow | Function) for part in numbers)


def _coefficients(gold: Expr, answer: Expr) -> list[tuple[Expr, Expr]] | None:
    """Return the pairs of coefficients of two polynomials in the same variables; None if they are not such polynomials."""
    pair = [without_functions(gold), without_functions(answer)]
    symbols = sorted(pair[0].free_symbols | pair[1].free_symbols, key=str)
    if not all(value.is_polynomial(*symbols) for value in pair) or not symbols:
        return None
    terms = [Poly(value, *symbols, domain="EX").as_dict() for value in pair]
    powers = set().union(*terms)
    return [tuple(each.get(power, Integer(0)) for each in terms) for power in powers]


def _agree(gold: Expr, answer: Expr, tolerance: float) -> bool | None:
    """Return whether two expressions agree at points, or None if they have no values there."""
    pair = [without_functions(gold), without_functions(answer)]
    difference = pair[0] - pair[1]
    symbols = sorted(set().union(*(value.free_symbols for value in pair)), key=str)
    integers = integer_variables(pair)
    compared = 0
    complex_agreement: list[bool] = []
    for point in _points(pair, symbols, integers):
        one, other = (value_at(value, point) for value in pair)
        if one is None or other is None:
            continue
        agree = near(one, other, tolerance) and (tolerance > SAME or _is_zero(difference, point))
        if one.is_real and other.is_real:
            compared += 1
            if not agree:
                return False
        elif integers and one.is_real:
            return False  # (-1)^{n/2} is complex where \cos(n\pi/2) is real
        else:
            complex_agreement.append(agree)
    if compared:
        return True if not gold.has(I) or not complex_agreement else all(complex_agreement)
    return all(complex_agreement) if complex_agreement else None


def _points(pair: list[Expr], symbols: list[Any], integers: list[Any]) -> Iterator[dict[Any, Any]]:
    """Yield the points at which two expressions are compared, on both sides of their kinks; `integers` are natural numbers."""
    if not symbols:
        yield {}
        return
    first = list(islice(points(symbols), _MAX_POINTS))
    yield from integer_points(integers, first) if integers else first
    for point in kink_points(pair, first[0]):
        rounded = {symbol: Integer(round(point[symbol])) for symbol in integers}
        if all(value >= 0 for value in rounded.values()):
            yield point | rounded


def _is_zero(difference: Expr, point: dict[Any, Any]) -> bool:
    """Return whether the difference of two values that agree to 20 digits is 0. They may differ in a far smaller term."""
    if difference.has(Integral) or (value := value_at(difference, point)) in (0, None):
        return True
    again = value_at(difference, point, digits=2 * DIGITS)  # rounding errors change with the precision
    return again is None or not near(value, again, ROUGHLY)


def _same_equation(gold: Eq, answer: Eq, decimals: Decimals) -> bool:
    """Return whether the differences of the equations' sides, without denominators, have a constant ratio."""
    if not all(isinstance(side, Expr) for side in (*gold.args, *answer.args)):
        return bool(gold == answer)  # equations of sets or matrices
    differences = [fraction(together(side.lhs - side.rhs))[0] for side in map(_sides_evaluated, (gold, answer))]
    tolerance = _tolerance(gold, answer, decimals)
    if tolerance > SAME and (pairs := _coefficients(*differences)):
        ratio = next((one / other for one, other in pairs if one != 0 and other != 0), None)
        return ratio is not None and all(_agree(one, other * ratio, tolerance) for one, other in pairs)
    return constant_ratio(differences, tolerance) is not None


def _sides_evaluated(equation: Eq) -> Any:
    """Return `equation` with both sides evaluated."""
    return Eq(evaluated(equation.lhs), evaluated(equation.rhs), evaluate=False)


def constant_ratio(differences: list[Expr], tolerance: float = SAME) -> Expr | None:
    """Return the ratio of two expressions if it is constant over all points and not 0; else None."""
    pair = list(map(without_functions, differences))
    symbols = sorted(set().union(*(value.free_symbols for value in pair)), key=str)
    first, at_first, compared = None, pair, 0
    for point in _points(pair, symbols, integer_variables(pair)):
        one, other = (value_at(value, point) for value in pair)
        if one is None or other is None or (one == 0 and other == 0):
            continue
        if one == 0 or other == 0:
            return None
        ratio = one / other
        if first is None:
            first, at_first = ratio, [with_real_roots(value, point) for value in pair]
        elif not near(first, ratio, tolerance):
            return None
        if tolerance == SAME and not _is_zero(pair[0] * at_first[1] - pair[1] * at_first[0], point):
            return None
        compared += 1
    return first if compared >= _POINTS else None
