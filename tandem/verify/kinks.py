r"""Points at kinks and on both sides: where |x-100|, \max(x,100), \sqrt{(x-100)^2} or \lfloor x/100\rfloor changes its form.

Points of one fixed size could all lie on one side of a kink, where |x-100| equals 100-x.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations, pairwise
from random import Random
from typing import Any

from mpmath.libmp import NoConvergence
from sympy import Abs, Expr, Max, Min, Mod, Poly, PolynomialError, Pow, Rational, ceiling, floor, sign
from sympy.functions.combinatorial.factorials import CombinatorialFunction

_MAX_KINKS = 24
"""Further kinks along one variable are ignored."""
_MAX_DEGREE = 8
"""The kinks of polynomials of higher degree are not found."""
_MAX_EXPONENT = Rational(5000)
"""Larger kinks along a variable in an exponent count as this one: powers of larger numbers take long."""
_STEPS = (-1, 0, 1, 2)
"""Values of the argument of a floor or ceiling that count as kinks."""


def kink_points(expressions: Sequence[Expr], point: dict[Any, Any]) -> Iterator[dict[Any, Any]]:
    r"""Yield points between and beyond the kinks along each variable, where the other variables are as in `point`.

    Where the expressions can jump, also points at the kinks and next to them: at x=1, \lfloor x\rfloor is not \lceil x\rceil-1.
    """
    zero_at_kinks = list(dict.fromkeys(zero for expression in expressions for zero in _zero_at_kinks(expression)))
    random = Random(len(point))
    for symbol in point if zero_at_kinks else ():
        others = {other: value for other, value in point.items() if other != symbol}
        roots = {kink for zero in zero_at_kinks for kink in _roots(zero.xreplace(others), symbol)}
        limit = _MAX_EXPONENT if any(_has_power_of(expression, symbol) for expression in expressions) else None
        kinks = sorted({kink if limit is None else max(-limit, min(kink, limit)) for kink in roots})[:_MAX_KINKS]
        if not kinks:
            continue
        if any(expression.has(floor, ceiling, Mod, sign) for expression in expressions):
            near = min([Rational(1), *(high - low for low, high in pairwise(kinks))]) / 2003
            yield from ({**point, symbol: kink + step} for kink in kinks for step in (-1, -near, 0, near, 1))
        width = max(1, *map(abs, kinks))
        for low, high in pairwise((kinks[0] - width, *kinks, kinks[-1] + width)):
            yield {**point, symbol: low + (high - low) * Rational(random.randint(100, 1900), 2003)}


def _has_power_of(expression: Expr, symbol: Any) -> bool:
    """Return whether `symbol` is in an exponent, a factorial or a binomial, so that its large values take long."""
    powers = (part.exp for part in expression.atoms(Pow))
    return any(part.has(symbol) for part in (*powers, *expression.atoms(CombinatorialFunction)))


def _zero_at_kinks(expression: Expr) -> Iterator[Expr]:
    """Yield expressions that are 0 at the kinks of `expression`."""
    for part in expression.atoms(Abs, sign, Max, Min, floor, ceiling, Mod, Pow):
        if isinstance(part, Abs | sign):
            yield part.args[0]
        elif isinstance(part, Max | Min):
            yield from (one - other for one, other in combinations(part.args, 2))
        elif isinstance(part, floor | ceiling | Mod):
            argument = part.args[0] / part.args[1] if isinstance(part, Mod) else part.args[0]
            yield from (argument - step for step in _STEPS)
        elif isinstance(part.exp, Rational) and part.exp.q % 2 == 0:
            yield part.base


def _roots(zero: Expr, symbol: Any) -> list[Rational]:
    """Return the real roots of a polynomial in `symbol`, roughly; of any other expression, the numbers in it."""
    try:
        polynomial = Poly(zero, symbol).sqf_part()
        if polynomial.degree() == 1 and all(isinstance(number, Rational) for number in polynomial.all_coeffs()):
            return [-polynomial.all_coeffs()[1] / polynomial.all_coeffs()[0]]
        if 0 < polynomial.degree() <= _MAX_DEGREE:
            return [Rational(str(root)) for root in polynomial.nroots(n=15) if root.is_real]
    except (PolynomialError, ArithmeticError, ValueError, TypeError, NotImplementedError, NoConvergence):
        pass
    return [number for number in zero.atoms(Rational) if zero.has(symbol)]
