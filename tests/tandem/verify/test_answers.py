"""Tests of the equality of answers."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tandem.verify.equivalence import judge
from tandem.verify.guards import Unparsable
from tandem.verify.plain import settle
from tests.support import ROOT

cents = st.integers(-(10**9), 10**9)
fractions = st.builds(Fraction, st.integers(-(10**6), 10**6), st.integers(1, 10**4))


@st.composite
def written_cents(draw: st.DrawFn, number: int) -> str:
    """Draw a spelling of `number` hundredths."""
    sign, (whole, rest) = "-" if number < 0 else draw(st.sampled_from(["", "+"])), divmod(abs(number), 100)
    decimal, grouped = f"{whole}.{rest:02d}", f"{whole:,}.{rest:02d}"
    ways = [decimal, decimal + "0", grouped, grouped.replace(",", "{,}"), grouped.replace(",", "\\,")]
    ways += [form.format(abs(number)) for form in ("\\frac{{{}}}{{100}}", "{}/100", "{}e-2", "{}\\times 10^{{-2}}")]
    ways += [f"{whole}", f"{whole}.", f"{whole:,}"] if rest == 0 else []
    ways += [decimal.lstrip("0")] if whole == 0 else []
    return draw(st.sampled_from(["{}", " {} ", "${}$"])).format(sign + draw(st.sampled_from(ways)))


@st.composite
def written_fraction(draw: st.DrawFn, number: Fraction) -> str:
    """Draw a spelling of `number` as a fraction, reduced or not."""
    scale = draw(st.integers(1, 50))
    top, bottom = abs(number.numerator) * scale, number.denominator * scale
    forms = ["{}/{}", "{} / {}", "\\frac{{{}}}{{{}}}", "\\dfrac{{{}}}{{{}}}", "\\tfrac{{{}}} {{{}}}"]
    return ("-" if number < 0 else "") + draw(st.sampled_from(forms)).format(top, bottom)


@given(st.data(), cents)
def test_spellings_of_number_are_equal(data: st.DataObject, number: int) -> None:
    assert settle(data.draw(written_cents(number)), data.draw(written_cents(number))) is True


@given(st.data(), cents, cents)
def test_spellings_of_different_numbers_differ(data: st.DataObject, one: int, other: int) -> None:
    assume(one != other)
    assert settle(data.draw(written_cents(one)), data.draw(written_cents(other))) is False


@given(st.data(), fractions, fractions)
def test_fractions_are_equal_exactly(data: st.DataObject, one: Fraction, other: Fraction) -> None:
    assert settle(data.draw(written_fraction(one)), data.draw(written_fraction(one))) is True
    assert settle(data.draw(written_fraction(one)), data.draw(written_fraction(other))) is (one == other)


@pytest.mark.parametrize(
    ("gold", "answer", "equal"),
    [
        ("1/3", "0.333333", True),
        ("1/3", "0.33333", False),
        ("0.3333333", "\\frac{1}{3}", True),
        ("1000000", "1000000.5", False),
        ("50\\%", "0.5", True),
        ("50", "50\\%", True),
        ("0.5\\%", "50\\%", False),
        ("\\sqrt{8}", "2\\sqrt{2}", True),
        ("\\sqrt{8}", "2.828427", True),
        ("\\sqrt{8}", "2.83", False),
        ("x^2+2x+1", "(x+1)^2", True),
        ("x^2+2x+1", "(x+2)^2", False),
        ("-\\frac12", "-0.5", True),
        ("\\{1,2\\}", "\\left\\{2, 1\\right\\}", True),
        ("[0,1)", "[0,1]", False),
        ("5", "x=5", True),
        ("5", "\\frac{1}{0}", False),
        ("not a number", "not  a number", True),
        ("not a number", "5", False),
        ("1000\\pi", "3141.5927", True),
        ("\\frac{\\pi}{10^9}", "0.000000002", False),
        ("3.14159265", "3.1415927", True),
        ("(\\frac{\\pi}{10^9}, 1, 2)", "(0.000000002, 1, 2)", False),
        ("1\\frac12", "3/2", True),
        ("\\frac32", "1 1/2", True),
        ("-\\frac32", "-1\\frac{1}{2}", True),
        ("\\frac12", "50\\%", True),
        ("50\\%", "50 percent", True),
        ("1234", "1,234", True),
        ("1,234", "(1,234)", False),
        ("(1,234)", "(1, 234)", True),
        ("(1,234)", "1234", False),
        ("5", "5 cm", True),
        ("5\\text{ cm}", "5", True),
        ("25", "25\\text{ cm}^2", True),
        ("25 cm^2", "25 square centimeters", True),
        ("25 cm^2", "25 cm", False),
        ("5 cm", "5\\text{ m}", False),
        ("2\\sqrt{3}\\text{ cm}", "\\sqrt{12}\\text{ km}", False),
        ("2\\sqrt{3}\\text{ cm}", "\\sqrt{12}", True),
        ("90", "90^\\circ", True),
        ("\\$5", "5 dollars", True),
        ("7:15\\text{ PM}", "7:15\\text{ AM}", False),
        ("B", "(B)", True),
        ("B", "\\text{B}", True),
        ("B", "B.", True),
        ("B", "\\textbf{(B) } 12", True),
        ("(B)", "b", True),
        ("B", "(C)", False),
        ("x=5", "5", True),
        ("x=5", "y=5", False),
        ("y=2x+1", "2x-y+1=0", True),
        ("[0,1)", "\\left[0, 1\\right)", True),
        ("(-\\infty,1)\\cup(2,\\infty)", "(2,\\infty)\\cup(-\\infty,1)", True),
        ("\\{1,2\\}", "2, 1", True),
        ("(1,2)", "(2,1)", False),
        ("(1,2,3)", "(1.0, 4/2, 3)", True),
        ("(1,2,3)", "(1,3,2)", False),
        ("(1,2,3)", "(1,2)", False),
        ("\\{1,\\frac12\\}", "\\{0.5,1\\}", True),
        ("\\{1,2\\}", "\\{1,2,3\\}", False),
        ("\\{1,2,3\\}", "\\{1,2\\}", False),
        ("(1,2)", "[1,2]", False),
        ("1, 2", "x=1\\text{ or }x=2", True),
        ("(\\frac12,\\sqrt2)", "(0.5,\\sqrt{2})", True),
        ("5", "5, 6", False),
        (
            "\\begin{pmatrix}1/2&2\\\\3&4\\end{pmatrix}",
            "\\begin{bmatrix}0.5&2\\\\3&4\\end{bmatrix}",
            True,
        ),
        ("\\begin{pmatrix}1\\\\2\\end{pmatrix}", "\\begin{pmatrix}1&2\\end{pmatrix}", False),
        ("\\text{Tuesday}", "tuesday", True),
        ("\\text{Tuesday}", "Monday", False),
        ("form", "from", False),
        ("xy", "yx", True),
        ("Tuesday", "5", False),
        ("2\\sqrt3", "2*sqrt(3)", True),
        ("x^2", "x**2", True),
        ("\\frac25", "\\frac{2}{5} \\text{ or } 0.4", True),
        ("\\frac25 \\text{ or } 0.4", "0.4", True),
        ("\\frac25", "\\frac{2}{5} \\text{ or } 0.5", False),
        ("\\frac25", "\\frac{2}{5} \\text{ and } 0.4", False),
        ("\\frac25", "\\frac{2}{5}, 0.4", False),
        ("2\\sqrt2", "2\\sqrt2 \\text{ or } \\sqrt8", True),
        ("0,1", "0.1", False),
        ("-1,2", "-1.2", False),
        ("-1,2", "2 \\text{ and } -1", True),
        ("1,22", "1.22", True),
        ("0.1", "0,1", True),
        ("2{,}5", "2.5", True),
        ("2{,}5", "2,5", True),
        ("$0{,}125$", "0.125", True),
        ("1{,}125", "1125", True),
        ("1{,}125", "1.125", False),
    ],
)
def test_answers_are_judged_by_meaning(gold: str, answer: str, equal: bool) -> None:
    assert judge(gold, answer) is equal


@given(first=st.integers(-99, 99), second=st.integers(0, 9))
def test_comma_of_gold_separates_digits(first: int, second: int) -> None:
    assert settle(f"{first},{second}", f"{first}.{second}") is False
    assert settle(f"{first},{second}", f"{first}, {second}") is True
    assert settle(f"{first}.{second}", f"{first},{second}") is True
    assert settle(f"{first}{{,}}{second}", f"{first}.{second}") is True


@pytest.mark.parametrize(
    "answer", ["??", "\\frac{", "\x00", "\ud800", "%s%n{0}", "9^{9^{9^{9}}}", "x^{100000}", "1" * 501, "((9!)!)!", "(" * 30]
)
def test_unreadable_answer_is_reported(answer: str) -> None:
    with pytest.raises(Unparsable):
        judge("5", answer)


def test_long_answer_equals_itself() -> None:
    assert judge("1" * 5000, "1" * 5000)
    assert not judge("1" * 5000, "1")


def test_worker_imports_neither_torch_nor_numpy() -> None:
    imported = "import sys, tandem.verify.worker, tandem.verify.equivalence; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", imported], capture_output=True, text=True, check=True, cwd=ROOT)
    assert "sympy" in done.stdout.split()
    assert not {"torch", "numpy", "ray"} & set(done.stdout.split())
