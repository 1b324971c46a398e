"""Values of expressions at fixed points, to `SAME`.

A root of odd degree of a negative number is the real one, as everywhere else in school mathematics, not sympy's complex one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

from sympy import Expr, I, Integer, Poly, Pow, Rational, Symbol, ceiling, degree, floor, nan, oo, pi, zoo
from sympy.core.function import AppliedUndef
from sympy.functions.elementary.trigonometric import TrigonometricFunction

SAME = 1e-20
"""Largest relative difference of equal values."""
DIGITS = 30
_INTEGERS = {"k", "m", "n"}
"""The letters that can stand for natural numbers."""
_RANGE = range(43)
_STRIDES = (1, 3, 5)
"""Numbers that have no divisor in common with the length of `_RANGE`."""
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


def integer_variables(expressions: Sequence[Expr]) -> list[Any]:
    r"""Return the variables that stand for natural numbers: k, m and n in (-1)^n, \lfloor n/2\rfloor or \cos n\pi.

    Not those of powers that would take long to compute exactly, and not that of \lfloor n\rfloor: it is no integer there.
    """
    integers, in_large_powers = set[Any](), set[Any]()
    for expression in expressions:
        for part in expression.atoms(floor, ceiling):
            integers |= set() if _is_integer_for_integers(part.args[0]) else part.free_symbols
        for part in expression.atoms(TrigonometricFunction):
            integers |= part.free_symbols if part.has(pi) else set()
        for power in expression.atoms(Pow):
            in_exponent = power.exp.free_symbols
            integers |= in_exponent if power.base.is_negative else set()
            if power.base != -1 and (power.base.has(Pow) or any(not _is_linear(power.exp, symbol) for symbol in in_exponent)):
                in_large_powers |= power.free_symbols if in_exponent else set()
    return sorted((symbol for symbol in integers - in_large_powers if symbol.name in _INTEGERS), key=str)


def _is_integer_for_integers(argument: Expr) -> bool:
    """Return whether `argument` is a polynomial with integer coefficients."""
    symbols = argument.free_symbols
    return bool(symbols and argument.is_polynomial(*symbols)) and all(c.is_Integer for c in Poly(argument, *symbols).coeffs())


def _is_linear(exponent: Expr, symbol: Any) -> bool:
    return bool(exponent.is_polynomial(symbol)) and degree(exponent, symbol) <= 1


def integer_points(symbols: Sequence[Any], reals: Sequence[dict[Any, Any]]) -> Iterator[dict[Any, Any]]:
    """Yield points with all integers of `_RANGE`, in another order for each of `symbols`; other variables are as in `reals`."""
    for place in range(len(_RANGE)):
        integers = {
            symbol: Integer(_RANGE[place * stride % len(_RANGE)]) for symbol, stride in zip(symbols, _STRIDES, strict=False)
        }
        yield {**reals[place % len(reals)], **integers}


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
