"""Tests of conventional letters: n in (-1)^n stands for natural numbers, C for the constant of an antiderivative."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.support.verdicts import says

pytestmark = pytest.mark.seconds

CASES = [
    (r"(-1)^n", r"\cos(n\pi)", "correct"),
    (r"\cos n\pi", r"(-1)^n", "correct"),
    (r"(-1)^n", r"(-1)^{n+1}", "wrong"),
    (r"(-1)^{n+1}", r"(-1)^{n-1}", "correct"),
    (r"\cos(\pi x)", r"1", "wrong"),
    (r"\sin(n\pi)", r"0", "correct"),
    (r"\sin(n\pi/2)", r"0", "wrong"),
    (r"\lfloor(n+1)/2\rfloor", r"\lceil n/2\rceil", "correct"),
    (r"\lfloor\frac{n}{2}\rfloor", r"\frac{2n-1+(-1)^n}{4}", "correct"),
    (r"\lfloor\frac{n}{2}\rfloor", r"\frac{n}{2}", "wrong"),
    (r"\lfloor\frac{n^2}{4}\rfloor", r"\lfloor\frac n2\rfloor\cdot\lceil\frac n2\rceil", "correct"),
    (r"\frac{(-1)^n x^{2n+1}}{(2n+1)!}", r"\frac{(-1)^{n+2}x^{2n+1}}{(2n+1)!}", "correct"),
    (r"\frac{(-1)^n x^{2n+1}}{(2n+1)!}", r"\frac{x^{2n+1}}{(2n+1)!}", "wrong"),
    (r"(-2)^n", r"(-1)^n 2^n", "correct"),
    (r"(-2)^n", r"2^n", "wrong"),
    (r"(-1)^{n^4}", r"(-1)^n", "correct"),
    (r"(-1)^{\lfloor n/2\rfloor}", r"\sqrt2\cos(\frac{n\pi}2-\frac\pi4)", "correct"),
    (r"\cos\frac{n\pi}{2}", r"(-1)^{n/2}", "wrong"),
    (r"2\cos\frac{2n\pi}{5}+2\cos\frac{4n\pi}{5}", "-1", "wrong"),
    (r"\lfloor\frac{7n}{23}\rfloor", r"\lfloor\frac{7n+1}{23}\rfloor", "wrong"),
    (r"\lfloor\frac n3\rfloor+\lfloor\frac m5\rfloor", r"\lfloor\frac n3\rfloor+\lfloor\frac{m+1}5\rfloor", "wrong"),
    (r"\lceil\frac mk\rceil", r"\lfloor\frac{m+k-1}{k}\rfloor", "correct"),
    (r"\cos(n\pi)\ln(n^2)", r"2(-1)^n\ln n", "correct"),
    (r"\lfloor m\rfloor", "m", "wrong"),
    (r"\lfloor 2n\rfloor", r"2\lfloor n\rfloor", "wrong"),
    (r"(-1)^n(2^{n^3}+3)^{n^2}", r"(-1)^{n+2}(3+2^{n^3})^{n^2}", "correct"),
    (r"e^x + C", r"e^x + c", "correct"),
    (r"e^x + c", r"C + e^x", "correct"),
    (r"e^x + C", r"e^x + 2c", "wrong"),
    (r"e^x + C", r"e^x", "wrong"),
    (r"Cx", r"cx", "wrong"),
    (r"A+B+C", r"A+B+c", "wrong"),
    (r"ax^2+bx+c", r"ax^2+bx+C", "wrong"),
    (r"(a+c,b)", r"(a+C,b)", "wrong"),
    (r"R^2", r"r^2", "wrong"),
]


@pytest.mark.parametrize(("gold", "answer", "verdict"), CASES)
def test_conventional_letters_get_expected_verdicts(gold: str, answer: str, verdict: str) -> None:
    assert says(gold, answer) == verdict


@settings(deadline=None, max_examples=30)
@given(shift=st.integers(0, 60), divisor=st.integers(2, 60), letter=st.sampled_from("kmn"))
@example(shift=33, divisor=8, letter="k")  # they differ only between 7 and 8, 15 and 16, ...
def test_floor_of_integers_is_a_ceiling(shift: int, divisor: int, letter: str) -> None:
    gold = rf"\lfloor\frac{{{letter}+{shift + divisor - 1}}}{{{divisor}}}\rfloor"
    assert says(gold, rf"\lceil\frac{{{letter}+{shift}}}{{{divisor}}}\rceil") == "correct"
    assert says(gold, rf"\lceil\frac{{{letter}+{shift + 1}}}{{{divisor}}}\rceil") == "wrong"
    assert says(gold.replace(letter, "x"), rf"\lceil\frac{{x+{shift}}}{{{divisor}}}\rceil") == "wrong"


@settings(deadline=None, max_examples=30)
@given(factor=st.integers(1, 40), divisor=st.integers(2, 40), shift=st.integers(0, 40))
def test_floors_of_integers_are_equal_only_if_no_integer_tells_them_apart(factor: int, divisor: int, shift: int) -> None:
    differ = any(factor * n // divisor != (factor * n + shift) // divisor for n in range(divisor))
    gold, answer = (rf"\lfloor\frac{{{factor}n+{each}}}{{{divisor}}}\rfloor" for each in (0, shift))
    assert says(gold, answer) == ("wrong" if differ else "correct")


@settings(deadline=None, max_examples=30)
@given(period=st.integers(1, 12), shift=st.integers(0, 24), letter=st.sampled_from("kmn"))
def test_sign_of_a_power_repeats_after_two(period: int, shift: int, letter: str) -> None:
    gold = f"(-1)^{{{period}{letter}}}"
    assert says(gold, f"(-1)^{{{period}{letter}+{2 * shift}}}") == says(gold, rf"\cos({period}{letter}\pi)") == "correct"
    assert says(gold, f"(-1)^{{{period}{letter}+{2 * shift + 1}}}") == "wrong"
    assert says(gold, "1") == ("correct" if period % 2 == 0 else "wrong")


@settings(deadline=None, max_examples=30)
@given(body=st.sampled_from(["x^2", r"\sin x", r"\frac{1}{3}e^{3x}", r"-\cos t", r"\ln|x|", "u"]), factor=st.integers(2, 9))
def test_constant_of_integration_may_have_either_case(body: str, factor: int) -> None:
    for one, other in (("C", "c"), ("c", "C")):
        assert says(f"{body}+{one}", f"{body}+{other}") == says(f"{body}+{one}", f"{other}+{body}") == "correct"
        assert says(f"{body}+{one}", f"{body}+{factor}{other}") == says(f"2{one}+{body}", f"2{other}+{body}") == "wrong"
