r"""Approximations of an exact value, as in \sqrt2 \approx 1.41.

All texts are canonical (`tandem.verify.spelling`).
"""

from __future__ import annotations

import re
from fractions import Fraction

from tandem.verify.leaf import Leaf
from tandem.verify.numbers import Number, read_number, terminates
from tandem.verify.quantities import Quantity, read_quantity, same_unit

_DECIMAL = re.compile(r"[-+]?[\d, ]*\.(?P<places>\d+)", re.ASCII)
_HALF = Fraction(1, 2)


def approximates(exact: str, rough: str, leaf: Leaf) -> bool | None:
    """Return whether `rough` approximates `exact`, numbers to 1 %. An integer approximates another only as its rounding."""
    one, other = read_quantity(exact), read_quantity(rough)
    if not _same_scale(one, other):
        return False
    if one.number and other.number:
        value, near = _value(one.number), _value(other.number)
        if value.denominator == near.denominator == 1:
            return value == near or _is_rounding(value, near, other.text)
        return abs(value - near) * 100 <= abs(value)
    return leaf(one.text, other.text, roughly=True)


def is_approximation(exact: str, rough: str, leaf: Leaf) -> bool | None:
    r"""Return whether exact \approx rough holds: to 1 %, or as its rounding to a digit worth at most a fifth of it."""
    close, other = approximates(exact, rough, leaf), read_quantity(rough)
    if close is not False or other.number is None:
        return close
    near = _value(other.number)
    return rounds(exact, rough, leaf) if _place(near, other.text) * 5 <= abs(near) else False


def rounds(exact: str, rough: str, leaf: Leaf) -> bool | None:
    """Return whether the decimal `rough` is `exact`, correctly rounded to the digits of `rough`, and not another integer.

    An expression is rounded by the floor function, so that algebra can compare the two.
    """
    one, other = read_quantity(exact), read_quantity(rough)
    number = other.number
    if number is None or "frac" in rough or "/" in rough or not terminates(number.value) or not _same_scale(one, other):
        return False
    near = _value(number)
    if one.number:
        value = _value(one.number)
        return value == near or (value.denominator > 1 and _is_rounding(value, near, other.text))
    place = _place(near, other.text)
    scale = f"\\frac{{{place.denominator}}}{{{place.numerator}}}"
    return leaf(f"\\lfloor ({one.text}) \\cdot {scale} + \\frac{{1}}{{2}} \\rfloor", str(near / place))


def _same_scale(one: Quantity, other: Quantity) -> bool:
    """Return whether the units of two quantities, if both have one, measure the same in the same size."""
    return same_unit(one, other) and (not (one.unit and other.unit) or one.factor == other.factor)


def _value(number: Number) -> Fraction:
    """Return the value of a number after its percent sign."""
    return number.value / 100 if number.percent else number.value


def _is_rounding(value: Fraction, near: Fraction, text: str) -> bool:
    """Return whether `near`, written as `text`, is `value` rounded to its last digit."""
    return abs(value - near) <= _place(near, text) * _HALF


def _place(value: Fraction, text: str) -> Fraction:
    """Return the place value of the last digit of a decimal; zeros at the end of an integer do not count as digits."""
    percent = read_number(text)
    decimal = _DECIMAL.fullmatch(text)
    if decimal:
        unit = Fraction(1, 10 ** len(decimal["places"]))
        return unit / 100 if percent and percent.value != value else unit
    place = Fraction(1)
    while value and (value / place).denominator > 1:
        place /= 10
    while value and (value / (10 * place)).denominator == 1:
        place *= 10
    return place
