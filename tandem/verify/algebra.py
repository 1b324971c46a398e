r"""Expressions and equations, read by latex2sympy and compared at points.

Two expressions are equal if their values agree to 20 digits at fixed random points, wherever both are real (or, if they are
real nowhere, wherever both have values). Two equations are equal if the differences of their sides have a constant ratio
there. Unlike simplification this ends soon, and it distinguishes x from |x|, which agree for positive numbers only.

Rational numbers are compared exactly, and decimals are rational. One side may be rounded, to `TOLERANCE`, only if the other
holds an irrational constant or is a fraction without a finite decimal; in polynomials this holds for each coefficient.

All texts are canonical (`tandem.verify.spelling`). On a hostile text any function here may never end or use all memory.
"""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache
from itertools import islice
from typing import Any

from latex2sympy2_extended.latex2sympy2 import ConversionConfig, latex2sympy
from sympy import (
    Derivative,
    Eq,
    Expr,
    Float,
    Function,
    I,
    Integer,
    Integral,
    Limit,
    MatrixBase,
    MatrixExpr,
    NumberSymbol,
    Poly,
    Pow,
    Product,
    Rational,
    Sum,
    Symbol,
    UnevaluatedExpr,
    fraction,
    nan,
    oo,
    preorder_traversal,
    simplify,
    together,
    zoo,
)

from tandem.verify.guards import Unparsable
from tandem.verify.numbers import TOLERANCE, terminates
from tandem.verify.opaque import with_unknowns, without_divisors
from tandem.verify.points import DIGITS, SAME, near, points, value_at, with_real_roots, without_functions

ROUGHLY = 1e-2
"""Largest relative error of an approximation."""
_POINTS = 5
_MAX_POINTS = 12

_CONFIG = ConversionConfig(lowercase_symbols=False)
_NOT_MATHEMATICS = re.compile(
    r"\\text|\d\s+\.?\d|\d\s?_|[\"`?@#;]|\\(?:begin|end)\{(?!.?matrix|array|cases)|[^\x00-\x7f°]|(?<![A-Za-z\\])[A-Za-z]{12,}|\\ldots|:.*:"
    r"|[\d)\]}|!]\s?'|\|_"
)
"""Input that the parser skips or misreads: text, adjacent numbers, bases of numerals, marks, words, derivatives."""
_IMAGINARY = re.compile(r"\\[A-Za-z]+|I")
_PRIMES = re.compile(r"([A-Za-z])('+)")
_CHOSEN = re.compile(r"(?<![A-Za-z\\])C\((\d{1,4}),\s?(\d{1,4})\)")
_ANGLE = re.compile(r"\\angle\s?\{?([A-Z]{3})(?![A-Za-z])\}?")
_TRANSPOSED = re.compile(r"\^(?:T(?![A-Za-z])|\{\s?T\s?\})")
"""A power of T, which the parser reads as a transposition."""
_TRIGONOMETRIC = re.compile(r"\\(?:sin|cos|tan|cot|sec|csc)(?![A-Za-z])")
_LEADING_ZEROS = re.compile(r"(?<![\d.])0+(?=\d)")
_POWER_OF_TEN = re.compile(r"(?<=\d)e([-+]?\d+)(?!\d)", re.IGNORECASE)
_FACTORIAL_POWER = re.compile(r"(?:(?:\\[A-Za-z]+|[A-Za-z])(?:_(?:\{\w*\}|\w))?|(?<![\d.])\d+|[)\]])\s?!(?=\s?\^)")
_GROUPED = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?![\d,])")


@lru_cache(maxsize=4096)
def read(text: str) -> Any:
    """Return `text` as a sympy expression, relation or matrix. Raises `Unparsable` when it cannot be read."""
    return _evaluated(_parsed(text))


def _parsed(text: str) -> Any:
    """Return what `text` says, not evaluated. Raises `Unparsable` when it cannot be read."""
    if not text or _NOT_MATHEMATICS.search(text):
        raise Unparsable(f"not a mathematical expression: {text!r}")
    degrees = bool(_TRIGONOMETRIC.search(text))
    text = text.replace("°", "^{\\circ}" if degrees else "")
    text = _CHOSEN.sub(lambda part: f"\\binom{{{part[1]}}}{{{part[2]}}}", text)
    text = _ANGLE.sub(lambda part: f"\\theta_{{{min(part[1], part[1][::-1])}}}", text)
    text = _PRIMES.sub(lambda part: f"{part[1]}_{{{'p' * len(part[2])}}}", text)
    text = _IMAGINARY.sub(lambda part: "\\iota " if part[0] == "I" else part[0], text)
    if "\\begin" not in text:
        text = _TRANSPOSED.sub(r"^{1 \\cdot T}", text)
    text, divisors = without_divisors(text, lambda argument: _evaluated(_parsed(argument), imaginary=False))
    text = _LEADING_ZEROS.sub("", _GROUPED.sub(lambda number: number[0].replace(",", ""), text))
    text = _with_bare_factorials(_POWER_OF_TEN.sub(r"\\cdot 10^{\1}", text))
    try:
        expression = latex2sympy(
            text, is_real=True, convert_degrees=degrees, normalization_config=None, conversion_config=_CONFIG
        )
        return expression.xreplace(divisors) if divisors else expression
    except RecursionError as error:
        raise Unparsable(f"nested too deep: {text!r}") from error
    except Exception as error:  # the parser raises Exception itself, and any other error
        raise Unparsable(f"not a mathematical expression: {text!r}") from error


def _with_bare_factorials(text: str) -> str:
    """Return `text` with parentheses around each factorial that has a power, as in (n!)^2 for n!^2."""
    while power := _FACTORIAL_POWER.search(text):
        start, depth = power.start(), 0
        while text[start] in ")]" or depth:
            depth += (text[start] in ")]}") - (text[start] in "([{")
            if depth == 0:
                break
            start -= 1
            if start < 0:
                return text
        text = f"{text[:start]}({text[start : power.end()]}){text[power.end() :]}"
    return text


def same_expression(gold: Any, answer: Any, roughly: bool = False) -> bool:
    """Return whether two results of `read` are equal; `roughly` allows one to approximate the other."""
    if isinstance(gold, MatrixBase) or isinstance(answer, MatrixBase):
        same_shape = isinstance(gold, MatrixBase) and isinstance(answer, MatrixBase) and gold.shape == answer.shape
        return same_shape and all(map(same_expression, gold.flat(), answer.flat()))
    if isinstance(gold, Eq) and isinstance(answer, Eq):
        return _same_equation(gold, answer)
    if not isinstance(gold, Expr) or not isinstance(answer, Expr):
        return bool(gold == answer)
    if any(value.has(nan, zoo) for value in (gold, answer)):
        return False
    if gold == answer:
        return True
    if gold.has(oo) or answer.has(oo):
        return False
    tolerance = ROUGHLY if roughly else _tolerance(gold, answer)
    gold, answer = exact(gold), exact(answer)
    if gold == answer:
        return True
    if gold.is_Rational and answer.is_Rational and tolerance == SAME:
        return False
    if tolerance > SAME and (pairs := _coefficients(gold, answer)):
        return all(_agree(*pair, tolerance) for pair in pairs)
    agreement = _agree(gold, answer, tolerance)
    if agreement is None:
        return bool(simplify(gold - answer) == 0)
    return agreement


def _tolerance(gold: Expr, answer: Expr) -> float:
    """Return the relative tolerance: decimals are exact, unless the other side has no finite decimal."""
    rounded = (gold.has(Float) or answer.has(Float)) and any(map(_has_no_decimal, (gold, answer)))
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


def _evaluated(expression: Any, imaginary: bool = True) -> Any:
    """Return `expression` evaluated by sympy, including sums, integrals and limits; `imaginary` makes i the imaginary unit."""
    if isinstance(expression, MatrixExpr):
        expression = expression.doit()
    if not isinstance(expression, Expr):
        if isinstance(expression, MatrixBase):
            return expression.applyfunc(_evaluated)
        return expression
    if expression.has(UnevaluatedExpr, Sum, Product, Integral, Limit, Derivative):
        expression = with_unknowns(expression).doit()
    elif expression.args:
        expression = expression.func(*(_evaluated(argument, imaginary) for argument in expression.args))
    if not imaginary or not isinstance(expression, Expr):
        return expression
    return expression.subs(Symbol("i", real=True), I)


def exact(expression: Expr) -> Expr:
    """Return `expression` with its decimals as fractions."""
    return expression.xreplace({number: Rational(str(number)) for number in expression.atoms(Float)})


def _agree(gold: Expr, answer: Expr, tolerance: float) -> bool | None:
    """Return whether two expressions agree at points, or None if they have no values there."""
    pair = [without_functions(gold), without_functions(answer)]
    difference = pair[0] - pair[1]
    symbols = sorted(set().union(*(value.free_symbols for value in pair)), key=str)
    compared = 0
    complex_agreement: list[bool] = []
    for point in islice(points(symbols), _MAX_POINTS if symbols else 1):
        one, other = (value_at(value, point) for value in pair)
        if one is None or other is None:
            continue
        agree = near(one, other, tolerance) and (tolerance > SAME or _is_zero(difference, point))
        if one.is_real and other.is_real:
            compared += 1
            if not agree:
                return False
        else:
            complex_agreement.append(agree)
    if compared:
        return True if not gold.has(I) or not complex_agreement else all(complex_agreement)
    return all(complex_agreement) if complex_agreement else None


def _is_zero(difference: Expr, point: dict[Any, Any]) -> bool:
    """Return whether the difference of two values that agree to 20 digits is 0. They may differ in a far smaller term."""
    if difference.has(Integral) or (value := value_at(difference, point)) in (0, None):
        return True
    again = value_at(difference, point, digits=2 * DIGITS)  # rounding errors change with the precision
    return again is None or not near(value, again, ROUGHLY)


def _same_equation(gold: Eq, answer: Eq) -> bool:
    """Return whether the differences of the equations' sides, without denominators, have a constant ratio."""
    if not all(isinstance(side, Expr) for side in (*gold.args, *answer.args)):
        return bool(gold == answer)  # equations of sets or matrices
    differences = [exact(fraction(together(exact(side.lhs - side.rhs)))[0]) for side in map(_sides_evaluated, (gold, answer))]
    tolerance = _tolerance(gold, answer)
    if tolerance > SAME and (pairs := _coefficients(*differences)):
        ratio = next((one / other for one, other in pairs if one != 0 and other != 0), None)
        return ratio is not None and all(_agree(one, other * ratio, tolerance) for one, other in pairs)
    return constant_ratio(differences, tolerance) is not None


def _sides_evaluated(equation: Eq) -> Any:
    """Return `equation` with both sides evaluated."""
    return Eq(_evaluated(equation.lhs), _evaluated(equation.rhs), evaluate=False)


def constant_ratio(differences: list[Expr], tolerance: float = SAME) -> Expr | None:
    """Return the ratio of two expressions if it is constant over all points and not 0; else None."""
    pair = list(map(without_functions, differences))
    symbols = sorted(set().union(*(value.free_symbols for value in pair)), key=str)
    first, at_first, compared = None, pair, 0
    for point in islice(points(symbols), _MAX_POINTS):
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
