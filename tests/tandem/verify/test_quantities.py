"""Tests of units, rates, counters, and numbers and sets in words."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tandem.verify.plain import settle
from tandem.verify.units import read_unit, unit_named
from tests.support.verdicts import accepts, says

UNITS = [
    (r"5", r"5x\text{ cm}", "wrong"),
    (r"20", r"20t \text{ miles}", "wrong"),
    (r"5", r"5i\text{ ohms}", "wrong"),
    (r"5", r"5n\text{ apples}", "wrong"),
    (r"5", r"5ab\text{ apples}", "wrong"),
    (r"5", r"5\pi\text{ cm}", "wrong"),
    (r"5x", r"5x\text{ cm}", "correct"),
    (r"5", r"5 kg\text{ of apples}", "correct"),
    (r"5", r"5\text{ kg} of\text{ apples}", "correct"),
    (r"5", r"5\text{ cm}", "correct"),
    (r"5", r"5~\mathrm{m/s}", "correct"),
    (r"5", r"5\text{ red} apples", "correct"),
    (r"5", r"5 \text{ divided by two}", "wrong"),
    (r"5", r"\text{five six}", "wrong"),
    (r"5", r"5\text{ out of ten}", "wrong"),
    (r"5", r"5\text{ possibly}", "wrong"),
    (r"5", r"5\text{ by five}", "wrong"),
    (r"5", r"5\text{ multiplied by x}", "wrong"),
    (r"5", r"\text{five apples}", "correct"),
    (r"5", r"5\text{ two}", "wrong"),
    (r"25", r"\text{twenty five ways}", "correct"),
    (r"5", r"\$5 per hour", "correct"),
    (r"1080", r"\$1,080 per year", "correct"),
    (r"1080", r"\$1,080/month", "correct"),
    (r"\$5 per hour", r"5 dollars per hour", "correct"),
    (r"\$5 per hour", r"\$5 per day", "wrong"),
    (r"5 \text{ dollars per minute}", r"\$300/hour", "correct"),
    (r"3", r"\$3/ticket", "correct"),
    (r"3", r"\$3 \text{ per ticket}", "correct"),
    (r"3", r"\$3 a day", "correct"),
    (r"3000000", r"\$3 million per year", "correct"),
    (r"3", r"€3 per person", "correct"),
    (r"3", r"\$3/x", "wrong"),
    (r"3", r"\$3/2", "wrong"),
    (r"1.5", r"\$3/2", "correct"),
    (r"3", r"\$3 per 2 hours", "wrong"),
    (r"6", r"\$5 per hour", "wrong"),
    (r"4.5e33", r"4.5 \times 10^{33} \text{ erg/s}", "correct"),
    (r"10^7 \text{ erg}", r"1 \text{ J}", "correct"),
    (r"100000\text{ dyn}", r"1\text{ N}", "correct"),
    (r"12", r"12\text{ widgets/hour}", "correct"),
    (r"12", r"12\text{ students/class}", "correct"),
    (r"12", r"12/x", "wrong"),
    (r"12", r"12 a/b", "wrong"),
    (r"40", r"40 more apples", "correct"),
    (r"40", r"40 fewer apples than", "wrong"),
    (r"40", r"40 more", "wrong"),
    (r"40", r"40 or more", "wrong"),
    (r"40", r"40 more than x", "wrong"),
    (r"40", r"40 more or less", "wrong"),
    (r"12", r"12\text{ integers}", "correct"),
    (r"2.5", r"2\frac12\text{ hours}", "correct"),
]
WORDS = [
    (r"\mathbb{Z}", r"\text{all integers}", "correct"),
    (r"\mathbb{Z}", r"\text{the set of integers}", "correct"),
    (r"\mathbb{R}", r"\text{all integers}", "wrong"),
    (r"\mathbb{N}", r"\text{all natural numbers}", "correct"),
    (r"\mathbb{Q}", r"\text{all rational numbers}", "correct"),
    (r"\text{red, blue}", r"\text{blue, red}", "correct"),
    (r"\text{red, blue}", r"\text{blue, green}", "wrong"),
    (r"\text{red, blue}", r"\text{blue, red, green}", "wrong"),
    (r"\text{red, blue}", r"blue, red", "correct"),
    (r"\text{red, blue, and green}", r"\text{blue}, \text{red}, \text{green}", "correct"),
    (r"\text{Yes}", r"\text{Yes, it is}", "correct"),
    (r"\text{No}", r"\text{Yes, it is}", "wrong"),
    (r"\text{Monday, June 20}", r"\text{June 20}", "correct"),
    (r"-5", r"\text{negative } 5", "correct"),
    (r"-5", r"\text{negative 5}", "correct"),
    (r"-5", r"negative 5", "correct"),
    (r"-5", r"\text{minus }5", "correct"),
    (r"-\frac12", r"\text{negative }\frac12", "correct"),
    (r"5", r"\text{negative }5", "wrong"),
    (r"-5", r"negative five", "correct"),
    (r"-5", r"5 negative", "wrong"),
    (r"-5\text{ m}", r"\text{negative }5\text{ m}", "correct"),
    (r"2.5", r"\text{two and a half}", "correct"),
    (r"2.5", r"two and a half", "correct"),
    (r"2.5", r"two and one half", "correct"),
    (r"2.75", r"two and three quarters", "correct"),
    (r"2.5", r"2 \text{ and a half}", "correct"),
    (r"2.5", r"\text{two and a half hours}", "correct"),
    (r"3.5", r"\text{two and a half}", "wrong"),
    (r"-2.5", r"negative two and a half", "correct"),
    (r"205", r"two hundred and five", "correct"),
    (r"25", r"twenty-five", "correct"),
    (r"\frac23", r"two thirds", "correct"),
    (r"2.5", r"two and a third", "wrong"),
    (r"0.5", r"one half", "correct"),
    (r"100.5", r"one hundred and a half", "correct"),
    (r"2", r"\text{two and three}", "wrong"),
]


@pytest.mark.parametrize(("gold", "answer", "verdict"), [*UNITS, *WORDS])
def test_quantities_and_words_get_expected_verdicts(gold: str, answer: str, verdict: str) -> None:
    assert accepts(gold, answer) is (verdict == "correct")


variables = st.text("abfkmnpqrtxyz", min_size=1, max_size=2)
names = st.sampled_from(["cm", "miles", "ohms", "apples", "kg", "square feet", "different ways", "students"])


@given(number=st.integers(2, 999), name=variables, unit=names)
def test_variable_before_unit_counts(number: int, name: str, unit: str) -> None:
    assume(unit_named(name) is None and read_unit(f"{name} {unit}") is None)
    assert not accepts(str(number), rf"{number}{name}\text{{ {unit}}}")
    assert not accepts(str(number), rf"{number} {name} \text{{{unit}}}")
    assert accepts(str(number), rf"{number}\text{{ {unit}}}")


NUMBER_WORDS = ["zero", "one", "two", "five", "eleven", "twelve", "twenty", "fifty", "hundred", "thousand", "dozen", "half"]


@given(
    number=st.sampled_from(["5", r"\text{five}", "five", "12"]),
    word=st.sampled_from(NUMBER_WORDS),
    join=st.sampled_from(["", "by ", "divided by ", "multiplied by ", "out of ", "times ", "plus ", "minus ", "over "]),
)
def test_number_word_after_number_is_no_counter(number: str, word: str, join: str) -> None:
    value = {"5": "5", "12": "12"}.get(number, "5")
    assert settle(value, rf"{number} \text{{ {join}{word}}}") is not True


@given(
    amount=st.integers(1, 10**6),
    currency=st.sampled_from(["$", "€", "£", "USD "]),
    time=st.sampled_from(["hour", "day", "year"]),
)
def test_currency_may_have_rate(amount: int, currency: str, time: str) -> None:
    currency = currency.replace("$", r"\$")
    for rate in (f" per {time}", f"/{time}", rf" \text{{ per {time}}}"):
        assert settle(str(amount), f"{currency}{amount:,}{rate}") is True
        assert settle(str(amount + 1), f"{currency}{amount:,}{rate}") is False
        assert settle(rf"{currency}{amount}/{time}", f"{currency}{amount:,}{rate}") is True
        assert settle(rf"{currency}{amount}/second", f"{currency}{amount:,}{rate}") is False


@given(
    whole=st.integers(1, 99),
    parts=st.sampled_from([("a half", ".5"), ("one quarter", ".25"), ("three quarters", ".75"), ("four fifths", ".8")]),
)
def test_whole_number_and_fraction_in_words(whole: int, parts: tuple[str, str]) -> None:
    assert settle(f"{whole}{parts[1]}", f"{whole} and {parts[0]}") is True
    assert settle(f"{whole}{parts[1]}", rf"\text{{{whole} and {parts[0]} hours}}") is True
    assert settle(str(whole), f"{whole} and {parts[0]}") is False


KITCHEN = {"teaspoons": 1, "tablespoons": 3, "cups": 48, "pints": 96, "quarts": 192, "gallons": 768}


@given(number=st.integers(1, 200), one=st.sampled_from(sorted(KITCHEN)), other=st.sampled_from(sorted(KITCHEN)))
def test_kitchen_measures_are_converted(number: int, one: str, other: str) -> None:
    gold, value = rf"{number}\text{{ {one}}}", Fraction(number * KITCHEN[one], KITCHEN[other])
    assert says(gold, rf"{value}\text{{ {other}}}") == says(gold, str(number)) == "correct"
    assert says(gold, rf"{number}\text{{ liters}}") == "wrong"
    assert says(gold, rf"{number}\text{{ {other}}}") == ("correct" if one == other else "wrong")


TIMES = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}


@given(
    number=st.integers(1, 200),
    things=st.sampled_from(["words", "apples", "red balls", "people"]),
    one=st.sampled_from(sorted(TIMES)),
    other=st.sampled_from(sorted(TIMES)),
    form=st.sampled_from([r"{}\text{{ {} per {}}}", "{} {} per {}", r"{}\text{{ {} a {}}}"]),
)
def test_rates_of_counted_things_are_converted(number: int, things: str, one: str, other: str, form: str) -> None:
    gold, value = form.format(number, things, one), Fraction(number * TIMES[other], TIMES[one])
    assert says(gold, form.format(value, things, other)) == says(gold, str(number)) == "correct"
    assert says(gold, form.format(number, things, other)) == ("correct" if one == other else "wrong")


@pytest.mark.parametrize(
    ("gold", "answer", "verdict"),
    [
        (r"2 \text{ tons}", r"2 \text{ pounds}", "wrong"),
        (r"2 \text{ tons}", r"4000 \text{ pounds}", "correct"),
        ("5 ppm", "5 ppb", "wrong"),
        ("5 ppm", "5", "correct"),
        ("2 centuries", "200 years", "correct"),
        ("3 students per group", "3 students", "correct"),
        ("12 problems", "12 questions", "correct"),
    ],
)
def test_further_units_get_expected_verdicts(gold: str, answer: str, verdict: str) -> None:
    assert says(gold, answer) == verdict
