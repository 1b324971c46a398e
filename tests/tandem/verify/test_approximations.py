"""Tests of answers that approximate a value."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tandem.verify.equivalence import judge
from tandem.verify.plain import settle


@pytest.mark.parametrize(
    ("gold", "answer", "equal"),
    [
        ("205", "204 \\approx 205", False),
        ("204", "204 \\approx 205", False),
        ("498", "500 \\approx 498 \\approx 499 \\approx 501 \\approx 502", False),
        ("500", "500 \\approx 498 \\approx 499 \\approx 501 \\approx 502", False),
        ("315", "100\\pi \\approx 313 \\approx 314 \\approx 315 \\approx 316", False),
        ("100\\pi", "100\\pi \\approx 313 \\approx 314 \\approx 315 \\approx 316", False),
        ("313", "100\\pi \\approx 313", False),
        ("314", "100\\pi \\approx 314", True),
        ("314", "100\\pi \\approx 100(3.14) = 314", True),
        ("100\\pi", "100\\pi \\approx 100(3.14) = 314", True),
        ("100\\pi", "100\\pi \\approx 314.16 \\approx 314", True),
        ("314", "100\\pi \\approx 314.16 \\approx 314", False),
        ("205", "x = 204 \\approx 205", False),
        ("205", "x \\approx 204 \\approx 205", False),
        ("205", "x \\approx 205", True),
        ("205", "204.6 \\approx 205", True),
        ("205", "204.4 \\approx 205", False),
        ("498", "498 \\approx 500", True),
        ("500", "498 \\approx 500", False),
        ("3140", "1000\\pi \\approx 3140", True),
        ("3.14", "\\pi \\approx 3.14", True),
        ("3.15", "\\pi \\approx 3.15", False),
        ("\\frac{22}{7}", "\\pi \\approx \\frac{22}{7}", False),
        ("-3.46", "-2\\sqrt3 \\approx -3.46", True),
        ("3.33", "\\frac{10}{3}\\text{ cm} \\approx 3.33\\text{ cm}", True),
        ("\\frac{10}{3}", "\\frac{10}{3}\\text{ cm} \\approx 3.33\\text{ cm}", True),
        ("\\frac13", "\\frac13 \\approx 33.3\\%", True),
        ("33.3\\%", "\\frac13 \\approx 33.3\\%", True),
        ("\\sqrt{2}x", "\\sqrt2 x \\approx 1.41x", True),
        ("101x", "100x \\approx 101x", False),
        ("\\sqrt{18}", "\\sqrt{18} \\approx 4.2", True),
        ("4.2", "\\sqrt{18} \\approx 4.2", False),
        ("\\sqrt{18}", "\\sqrt{18} \\approx 4.3", False),
        ("\\pi", "\\pi \\approx 3", False),
        ("3", "\\pi \\approx 3", False),
        ("\\frac23", "\\frac23 \\approx 0.7", True),
        ("0.7", "\\frac23 \\approx 0.7", False),
        ("0.06", "0.06 \\approx 0", False),
        ("55.5", "55.5 \\approx 100", False),
    ],
)
def test_only_correct_rounding_states_answer(gold: str, answer: str, equal: bool) -> None:
    assert judge(gold, answer) is equal


integers = st.integers(-999, 999)


@given(exact=integers, rough=st.lists(st.integers(-9, 9), min_size=1, max_size=4))
def test_one_answer_states_at_most_one_integer(exact: int, rough: list[int]) -> None:
    numbers = [exact, *(exact + change for change in rough)]
    chain = " \\approx ".join(map(str, numbers))
    assert sum(settle(str(number), chain) is True for number in set(numbers)) <= 1
    assert sum(settle(str(number), f"x = {chain}") is True for number in set(numbers)) <= 1


@settings(deadline=None)
@given(number=st.integers(2, 999), places=st.integers(0, 3), change=st.integers(-1, 1))
def test_approximation_is_accepted_if_rounded_correctly_or_to_one_percent(number: int, places: int, change: int) -> None:
    """It states the answer itself only if it is both."""
    rounded = round(number**0.5 * 10**places) + change
    decimal = f"{rounded / 10**places:.{places}f}"
    coarse = rounded in (10, 20, 30) and places == 0
    rounds = change == 0 or (coarse and abs(number**0.5 - rounded) <= 5)
    near = abs(float(decimal) - number**0.5) <= max(float(decimal), number**0.5) / 100
    if int(number**0.5) ** 2 != number:
        answer = f"\\sqrt{{{number}}} \\approx {decimal}"
        assert judge(decimal, answer) is (rounds and near)
        assert judge(f"\\sqrt{{{number}}}", answer) is ((rounds and rounded >= (50 if coarse else 5)) or near)
