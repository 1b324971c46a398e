"""Values of expressions at fixed points, to `SAME`.

A root of odd degree of a negative number is the real one, as everywhere else in school mathematics, not sympy's complex one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

from sympy import Expr, I, Integer, Pow, Rational, Symbol, ceiling, degree, floor, nan, oo, pi, zoo
from sympy.core.function import AppliedUndef
from sympy.functions.elementary.trigonometric import TrigonometricFunction

SAME = 1e-20
"""Largest relative difference of equal values."""
DIGITS = 30
_INTEGERS = {"k", "m", "n"}
"""The letters that stand for integers in (-1)^n, \\lfloor n/2\\rfloor and \\cos n\\pi."""
_MAX_EXPONENT_DEGREE = 3
_POSITIVE = 4
"""The number of points at the beginning that have positive values for all variables."""


def points(symbols: list[Any]) -> Iterator[dict[Any, Any]]:
    """Yield points, which depend only on the number of `symbols`: small positive ones, then pairs of a point and its negative.

    The first pair has alternating signs, and every second pair is ten times as large.
    """
    random = Random(len(symbols))

    def draw(scale: int) -> list[Rational]:
        return [Rational(scale * (random.randint(200, 4000) * 2 + 1), 2003) for _ in symbols]

    for _ in range(_POSITIVE):
        yield dict(zip(symbols, draw(1), strict=True))
    for pair in range(10**6):
        signs = [(-1) ** (place if pair == 0 else random.randint(0, 1)) for place in range(len(symbols))]
        values = [sign * value for sign, value in zip(signs, draw(10 if pair % 2 else 1), strict=True)]
        yield dict(zip(symbols, values, strict=True))
        yield dict(zip(symbols, [-value for value in values], strict=True))


def integers_at(expressions: Sequence[Expr], point: dict[Any, Any]) -> dict[Any, Any]:
    r"""Return `point` with integers for the variables that stand for integers in `expressions`, such as n in (-1)^n."""
    symbols, too_large = set[Any](), set[Any]()
    for part in (part for expression in expressions for part in expression.atoms(Pow, TrigonometricFunction, floor, ceiling)):
        if isinstance(part, Pow):
            symbols |= part.exp.free_symbols if part.base.is_negative else set()
            too_large |= {symbol for symbol in part.exp.free_symbols if not _is_small(part.exp, symbol)}
        elif not isinstance(part, TrigonometricFunction) or part.has(pi):
            symbols |= part.free_symbols
    symbols = {symbol for symbol in symbols - too_large if symbol.name in _INTEGERS}
    return {symbol: Integer(round(value)) if symbol in symbols else value for symbol, value in point.items()}


def _is_small(exponent: Expr, symbol: Any) -> bool:
    """Return whether an exact power with this exponent fits in memory where `symbol` is a small integer."""
    return bool(exponent.is_polynomial(symbol)) and degree(exponent, symbol) <= _MAX_EXPONENT_DEGREE


def value_at(expression: Expr, point: dict[Any, Any], digits: int = DIGITS) -> Any:
    """Return the value of `expression` at `point` to `digits` digits, or None if it has none."""
    try:
        value = with_real_roots(expression, point).evalf(digits)
    except (ArithmeticError, ValueError, TypeError, NotImplementedError):
        return None
    parts = value.as_real_imag()
    if not value.is_finite or value.has(nan, zoo, oo) or not all(part.is_Number for part in parts):
        return None
    # A part without a correct digit counts as 0. Smallness is relative to the other part: physical constants are small too.
    real, imaginary = (part if getattr(part, "_prec", DIGITS) > 1 else Integer(0) for part in parts)
    if abs(imaginary) <= SAME * abs(real):
        return real
    return I * imaginary if abs(real) <= SAME * abs(imaginary) else value


def near(one: Any, other: Any, tolerance: float) -> bool:
    """Return whether two values agree to the relative `tolerance`."""
    size = max(abs(one), abs(other))
    return bool(size == 0 or abs(one - other) <= tolerance * size)


def with_real_roots(expression: Any, point: dict[Any, Any]) -> Any:
    """Return `expression` at `point`, with real roots of odd degree of negative numbers."""
    if not any(_has_odd_root(power) for power in expression.atoms(Pow)):
        return expression.xreplace(point)
    if not expression.args:
        return point.get(expression, expression)
    arguments = [with_real_roots(argument, point) for argument in expression.args]
    if isinstance(expression, Pow) and _has_odd_root(expression) and arguments[0].is_extended_negative:
        sign = -1 if expression.exp.p % 2 else 1
        return sign * (-arguments[0]) ** arguments[1]
    return expression.func(*arguments)


def _has_odd_root(power: Pow) -> bool:
    """Return whether the exponent of `power` is a fraction with an odd denominator."""
    return isinstance(power.exp, Rational) and power.exp.q % 2 == 1 and power.exp.q > 1


def without_functions(expression: Expr) -> Expr:
    """Return `expression` with each value of an unknown function, such as f(x), replaced by a variable."""
    return expression.xreplace({value: Symbol(str(value), real=True) for value in expression.atoms(AppliedUndef)})
