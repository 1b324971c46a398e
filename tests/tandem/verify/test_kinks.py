r"""Tests of expressions with kinks, such as |x-100| and \max(x,100): they are compared at each kink and on both sides."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.verdicts import says

pytestmark = pytest.mark.seconds

CASES = [
    ("|n-2023|+|n-2024|", "4047-2n", "wrong"),
    ("|n-2023|+|n-2024|", "|4046-2n|+1", "wrong"),
    ("|x-100|+|x-101|", "|2x-201|", "wrong"),
    ("|x-100|+|x-101|", r"\max(1,|2x-201|)", "correct"),
    ("|x-100|", "100-x", "wrong"),
    ("|x-100|", "|100-x|", "correct"),
    ("y=|x-100|", "y=100-x", "wrong"),
    ("y=|x-100|", "y=|100-x|", "correct"),
    (r"\max(x,100)", "100", "wrong"),
    ("n", r"\min(n,100)", "wrong"),
    (r"\max(x,y+5000)", "y+5000", "wrong"),
    (r"|x-y-5000|", "y-x+5000", "wrong"),
    (r"\lfloor x/100\rfloor", r"\lfloor x/50\rfloor", "wrong"),
    (r"\sqrt{(x-50)^2}", "50-x", "wrong"),
    (r"\sqrt{(x-50)^2}", "|x-50|", "correct"),
    (r"\sqrt{x^2-10000x+25000000}", "5000-x", "wrong"),
    (r"|x^2-10^6|", "10^6-x^2", "wrong"),
    (r"|x^2-10^6|", "|x-1000||x+1000|", "correct"),
    (r"|e^x-10^9|", "10^9-e^x", "wrong"),
    ("|2^n-10^9|", "10^9-2^n", "wrong"),
    (r"\lfloor x\rfloor", r"\lceil x\rceil-1", "wrong"),
    (r"\lfloor\frac{x+40}{8}\rfloor", r"\lceil\frac{x+33}{8}\rceil", "wrong"),
    (r"\lceil x\rceil", r"-\lfloor -x\rfloor", "correct"),
    (r"\lfloor 2x\rfloor", r"\lfloor x\rfloor+\lfloor x+\frac12\rfloor", "correct"),
    (r"\frac{x}{|x|}", r"\frac{|x|}{x}", "correct"),
]


@pytest.mark.parametrize(("gold", "answer", "verdict"), CASES)
def test_expressions_with_kinks_get_expected_verdicts(gold: str, answer: str, verdict: str) -> None:
    assert says(gold, answer) == verdict


places = st.integers(-(10**7), 10**7)


def signed(number: int) -> str:
    return f"-{number}" if number >= 0 else f"+{-number}"


@settings(deadline=None, max_examples=60)
@given(place=places, slope=st.integers(1, 500), letter=st.sampled_from("xnt"))
def test_absolute_value_differs_from_each_side(place: int, slope: int, letter: str) -> None:
    inside = f"{slope}{letter}{signed(place)}"
    for gold in (f"|{inside}|", rf"\sqrt{{({inside})^2}}"):
        assert says(gold, f"|-({inside})|") == "correct"
        for side in (inside, f"-({inside})"):
            assert says(gold, side) == says(side, gold) == "wrong", side


@settings(deadline=None, max_examples=40)
@given(one=places, width=st.integers(2, 10**4))
def test_sum_of_absolute_values_differs_between_kinks(one: int, width: int) -> None:
    other = one + width
    gold = f"|x{signed(one)}|+|x{signed(other)}|"
    assert says(gold, f"|x{signed(other)}|+|{one}-x|".replace("--", "+")) == "correct"
    assert says(gold, f"|2x{signed(one + other)}|") == "wrong"


@settings(deadline=None, max_examples=40)
@given(place=places, name=st.sampled_from(["max", "min"]))
def test_extremum_differs_from_each_argument(place: int, name: str) -> None:
    gold = rf"\{name}(x,{place})"
    assert says(gold, rf"\{name}({place},x)") == "correct"
    for side in ("x", str(place)):
        assert says(gold, side) == says(side, gold) == "wrong", side


@settings(deadline=None, max_examples=40)
@given(place=places, width=st.integers(1, 10**4))
def test_floor_differs_from_ceiling_only_between_kinks(place: int, width: int) -> None:
    gold, answer = (rf"\{name}{{\frac{{x{signed(place)}}}{{{width}}}}}" for name in ("floor", "ceil"))
    assert says(gold, f"{answer}-1") == says(f"{answer}-1", gold) == "wrong"
    assert says(gold, rf"-\ceil{{\frac{{{place}-x}}{{{width}}}}}".replace("--", "+")) == "correct"
