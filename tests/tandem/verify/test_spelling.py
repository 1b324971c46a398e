"""Tests of notations that have several spellings: degrees, primes, inverse functions, tolerances, and words for numbers."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tandem.verify.numbers import Number, same_number
from tandem.verify.spelling import canonical
from tests.support.verdicts import says


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        (r"90^\circ", r"\mathbf{90^\circ}"),
        (r"90^\circ", r"\textcolor{blue}{90^\circ}"),
        (r"90^\circ", r"\text{90^\circ}"),
        (r"\frac{360}{7}", r"\frac{360^\circ}{7}"),
        (r"\frac{\sin 20^\circ}{2}", r"\frac12\sin 20^\circ"),
        (r"\frac{\sin 20^{\circ}}{2}", r"\frac12\sin 20^{ \circ }"),
        (r"25\,^\circ\text{C}", r"25^{\circ C}"),
        (r"\frac{y'}{2}", r"\frac{y^\prime}{2}"),
        (r"\frac{f'(x)}{2}", r"\frac{f^{\prime}(x)}{2}"),
        (r"y''+y", r"y^{\prime \prime}+y"),
        (r"\arctan 2", r"\tan^{-1}2"),
        (r"\arctan 2", r"\tan^{ -1 } 2"),
        (r"\frac{\pi}{3}", r"\cos^{-1}0.5"),
        (r"\frac{\arcsin 0.2}{3}", r"\frac{\sin^{-1}0.2}{3}"),
    ],
)
def test_notation_is_read_in_braces(gold: str, answer: str) -> None:
    assert says(gold, answer) == "correct"


notations = st.sampled_from(
    [r"90^\circ", r"90^{\circ}", r"90\degree", r"y^\prime", r"y^{\prime}", "y'", r"\tan^{-1}2", r"\sin^{-1}x", r"\cos^{-1} 0.5"]
)
WRAPPERS = [r"\frac{{{}}}{{2}}", r"\mathbf{{{}}}", r"\textcolor{{blue}}{{{}}}", r"\sqrt{{{}}}", "{{{}}}", "({})", r"2^{{{}}}+1"]


@settings(deadline=None)
@given(notation=notations, wrappers=st.lists(st.sampled_from(WRAPPERS), max_size=3))
def test_spelling_keeps_braces_balanced(notation: str, wrappers: list[str]) -> None:
    for wrapper in wrappers:
        notation = wrapper.format(notation)
    depth = 0
    for character in canonical(notation):
        depth += (character == "{") - (character == "}")
        assert depth >= 0, canonical(notation)
    assert depth == 0, canonical(notation)


@pytest.mark.parametrize("decimal", ["0.333333", "0.111111", "0.166667", "-0.333333", "142.857143", "0.0000333333"])
def test_rounded_decimal_equals_fraction_both_ways(decimal: str) -> None:
    fraction = Fraction(decimal).limit_denominator(100_000)
    written = rf"{'-' if fraction < 0 else ''}\frac{{{abs(fraction.numerator)}}}{{{fraction.denominator}}}"
    assert says(decimal, written) == says(written, decimal) == "correct"


numbers = st.builds(
    Number,
    value=st.fractions(-1000, 1000, max_denominator=999),
    decimals=st.sampled_from([None, 2, 6, 8]),
    percent=st.just(False),
)


@given(one=numbers, error=st.fractions(Fraction(9, 10**7), Fraction(11, 10**7), max_denominator=10**9))
def test_tolerance_is_symmetric(one: Number, error: Fraction) -> None:
    other = Number(one.value * (1 + error), decimals=6)
    assert same_number(one, other) is same_number(other, one)
