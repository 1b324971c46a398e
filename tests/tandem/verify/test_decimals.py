"""Tests of decimals in expressions: they are exact, and a number in parentheses is a factor."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.verdicts import says

CASES = [
    ("10^{20}", "10^{20}+0.5", "wrong"),
    ("6.02e23", "6.02e23+1", "wrong"),
    (r"1000\left(\frac{21}{20}\right)^{10}", "1000(1.05)^{10}", "correct"),
    (r"\left(\frac32\right)^{20}", "1.5^{20}", "correct"),
    (r"1-\left(\frac{9}{10}\right)^{20}", "1-0.9^{20}", "correct"),
    (r"1-\left(\frac{9}{10}\right)^{20}", "1-0.9^{21}", "wrong"),
    ("1", "2^{0.0000001}", "wrong"),
    (r"\log_2 8", r"\log_{0.5} 0.125", "correct"),
    ("5000e^{0.2}", "6107.01379", "correct"),
    (r"\frac12", r"\sin(0.5)", "wrong"),
    (r"\sin\frac12", r"\sin 0.5", "correct"),
    ("z_{0.05}", "z_{0.50}", "wrong"),
    (r"7", r"2(\frac{7}{2})", "correct"),
    (r"\frac{11}{2}", r"2(\frac{7}{2})", "wrong"),
    (r"\frac72", r"3\frac12", "correct"),
    (r"\frac72", r"3(\frac12)", "wrong"),
]


@pytest.mark.parametrize(("gold", "answer", "verdict"), CASES)
def test_decimals_get_expected_verdicts(gold: str, answer: str, verdict: str) -> None:
    assert says(gold, answer) == verdict


thousandths = st.integers(1, 9999).map(lambda number: Fraction(number, 1000))


@settings(deadline=None, max_examples=40)
@given(
    base=thousandths,
    power=st.integers(8, 40),
    form=st.sampled_from(["1-{}", "2000({})", "{}x", "y={}x", "x+{}", r"\sqrt{{{}}}x"]),
)
def test_power_of_decimal_is_exact(base: Fraction, power: int, form: str) -> None:
    gold = form.format(rf"\left(\frac{{{base.numerator}}}{{{base.denominator}}}\right)^{{{power}}}")
    decimal = f"{float(base):.3f}"
    assert says(gold, form.format(f"{decimal}^{{{power}}}")) == "correct"
    if base != 1:
        assert says(gold, form.format(f"{decimal}^{{{power + 1}}}")) == "wrong"


@settings(deadline=None, max_examples=40)
@given(power=st.integers(16, 60), addend=thousandths)
def test_decimal_beside_huge_number_counts(power: int, addend: Fraction) -> None:
    assert says(f"10^{{{power}}}", f"10^{{{power}}}+{float(addend):.3f}") == "wrong"
    assert says(f"10^{{{power}}}+{addend}", f"10^{{{power}}}+{float(addend):.3f}") == "correct"


@settings(deadline=None, max_examples=40)
@given(factor=st.integers(2, 20), top=st.integers(1, 30), bottom=st.integers(2, 9))
def test_fraction_in_parentheses_is_a_factor(factor: int, top: int, bottom: int) -> None:
    answer = rf"{factor}(\frac{{{top}}}{{{bottom}}})"
    product, total = factor * Fraction(top, bottom), factor + Fraction(top, bottom)
    assert says(str(product), answer) == "correct"
    assert says(str(total), answer) == ("correct" if total == product else "wrong")


X = ["x", " x ", " X ", "\\text{ x }", "\\mathrm{x}"]


@settings(deadline=None)
@given(mantissa=st.integers(11, 99), power=st.integers(-9, 9), sign=st.sampled_from(X), braces=st.booleans())
def test_x_before_power_of_ten_is_multiplication(mantissa: int, power: int, sign: str, braces: bool) -> None:
    ten = f"10^{{{power}}}" if braces or power < 0 else f"10^{power}"
    written, plain = f"{mantissa / 10}{sign}{ten}", f"{mantissa / 10} \\times {ten}"
    for one, other in ((written, plain), (plain, written), (written, f"x = {plain}"), (f"x = {plain}", written)):
        assert says(one, other) == "correct", (one, other)
    for factor in (f"{mantissa / 10}x \\cdot {ten}", f"{plain} \\cdot x", f"{mantissa}x", f"{(mantissa + 1) / 10}{sign}{ten}"):
        assert says(written, factor) != "correct", factor
