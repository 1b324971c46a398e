"""What a text's final answer is, and whether it equals the gold."""

from __future__ import annotations

import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tandem.verify.equivalence import judge
from tandem.verify.extract import compile_pattern, final_answer
from tandem.verify.plain import Unparsable, settle
from tandem.verify.pool import VerifierPool

ROOT = Path(__file__).parents[1]


def boxed(answer: str) -> str:
    return f"The answer is $\\boxed{{{answer}}}$."


# Extraction

unboxed = st.text(alphabet="ab1 +^_{}$\\\n", max_size=20)
content = st.recursive(
    st.one_of(st.text(alphabet="xy12 +^_,.", max_size=6), st.sampled_from(["\\{", "\\}", "\\\\", "\\pi "])),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map("".join),
        inner.map(lambda text: f"{{{text}}}"),
        st.tuples(inner, inner).map(lambda pair: f"\\frac{{{pair[0]}}}{{{pair[1]}}}"),
    ),
    max_leaves=12,
)


@given(before=st.lists(st.one_of(unboxed, content.map(boxed), st.just("\\boxed{")), max_size=3), content=content, after=unboxed)
def test_the_answer_is_the_last_box_with_its_braces_balanced(before: list[str], content: str, after: str) -> None:
    assert final_answer("".join(before) + f"\\boxed{{{content}}}" + after) == (content.strip() or None)


@given(before=unboxed, content=content)
def test_an_unclosed_last_box_states_no_answer(before: str, content: str) -> None:
    assert final_answer(before + boxed("7") + "\\boxed{" + content) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "It is 42.",
        "The answer is not 42.",
        "The answer is",
        "#### ",
        "\\boxed{}",
        "\\boxed{ \n}",
        "\\boxed{42",
        "\\boxed",
        "\\boxed42",
    ],
)
def test_no_answer_is_guessed(text: str) -> None:
    assert final_answer(text) is None


def test_a_task_may_name_its_own_pattern() -> None:
    pattern = compile_pattern(r"####\s*(\S*)")
    assert final_answer("#### 3\nno, \\boxed{4}: #### 5 \n", pattern) == "5"
    assert final_answer("#### 3\nno: ####", pattern) is None
    assert final_answer(boxed("4"), pattern) is None


@pytest.mark.parametrize("pattern", ["(", "answer: .*"])
def test_an_unusable_pattern_is_named(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"judge\.answer_pattern"):
        VerifierPool(1, 1.0, 1.0, pattern)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("so \\fbox{3}", "3"),
        ("\\boxed{1} or \\fbox{2}", "2"),
        ("\\boxed{1}, that is, the answer is 2.\n#### 3", "1"),
        ("The answer is 42.", "42"),
        ("The final answer is $\\frac12$. I hope it is correct.", "$\\frac12$"),
        ("**The answer is:** 3.5 cm. Done", "3.5 cm"),
        ("the correct answer is (B)", "(B)"),
        ("The answer is\n$$\n5\n$$\nas was to be shown", "5"),
        ("The answer is 4. No, the answer is 5!", "5"),
        ("The answer is 5! + 1", "5! + 1"),
        ("2 + 3 = 5\n#### 5", "5"),
        ("#### Conclusion\nThe answer is 5.", "5"),
        ("The answer is between 3 and 5.\n#### 4\n", "4"),
    ],
)
def test_what_counts_as_a_mark(text: str, answer: str) -> None:
    assert final_answer(text) == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("<think>\\boxed{1}</think>\\boxed{2}", "2"),
        ("\\boxed{2}<think>\\boxed{1}</think>", "2"),
        ("<think>\\boxed{1}</think>", None),
        ("\\boxed{2}<think>\\boxed{1}", "2"),
        ("<think>a<think>b</think>\\boxed{2}", "2"),
        ("the template opened it: \\boxed{1}</think>\\boxed{2}", "2"),
        ("\\boxed{1}</think>", None),
        ("\\box<think></think>ed{1}", None),
    ],
)
def test_what_is_thought_is_no_answer(text: str, answer: str | None) -> None:
    assert final_answer(text) == answer
    assert final_answer(text, compile_pattern(r"\\boxed\{(\d)")) == answer


@pytest.mark.parametrize(
    "piece",
    [
        "\\boxed{",
        "\\boxed",
        "{",
        "}",
        "\\",
        "\\boxed{}",
        "\\boxed ",
        " ",
        "\x00",
        "the answer is ",
        "the ",
        "*",
        "#### ",
        "<think>",
    ],
)
@pytest.mark.parametrize("before", ["\\boxed{", "The answer is ", "the "])
def test_extraction_is_linear(before: str, piece: str) -> None:
    start = time.monotonic()
    final_answer(before + piece * (1_000_000 // len(piece)) + "x")
    assert time.monotonic() - start < 2.0


# Equivalence

cents = st.integers(-(10**9), 10**9)
fractions = st.builds(Fraction, st.integers(-(10**6), 10**6), st.integers(1, 10**4))


@st.composite
def written_cents(draw: st.DrawFn, number: int) -> str:
    """One of the ways to write `number` hundredths."""
    sign, (whole, rest) = "-" if number < 0 else draw(st.sampled_from(["", "+"])), divmod(abs(number), 100)
    decimal, grouped = f"{whole}.{rest:02d}", f"{whole:,}.{rest:02d}"
    ways = [decimal, decimal + "0", grouped, grouped.replace(",", "{,}"), grouped.replace(",", "\\,")]
    ways += [form.format(abs(number)) for form in ("\\frac{{{}}}{{100}}", "{}/100", "{}e-2", "{}\\times 10^{{-2}}")]
    ways += [f"{whole}", f"{whole}.", f"{whole:,}"] if rest == 0 else []
    ways += [decimal.lstrip("0")] if whole == 0 else []
    return draw(st.sampled_from(["{}", " {} ", "${}$"])).format(sign + draw(st.sampled_from(ways)))


@st.composite
def written_fraction(draw: st.DrawFn, number: Fraction) -> str:
    """One of the ways to write `number` as a fraction, reduced or not."""
    scale = draw(st.integers(1, 50))
    top, bottom = abs(number.numerator) * scale, number.denominator * scale
    forms = ["{}/{}", "{} / {}", "\\frac{{{}}}{{{}}}", "\\dfrac{{{}}}{{{}}}", "\\tfrac{{{}}} {{{}}}"]
    return ("-" if number < 0 else "") + draw(st.sampled_from(forms)).format(top, bottom)


@given(st.data(), cents)
def test_a_number_equals_itself_however_written(data: st.DataObject, number: int) -> None:
    assert settle(data.draw(written_cents(number)), data.draw(written_cents(number))) is True


@given(st.data(), cents, cents)
def test_different_numbers_differ_however_written(data: st.DataObject, one: int, other: int) -> None:
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
    ],
)
def test_answers_are_judged_by_what_they_mean(gold: str, answer: str, equal: bool) -> None:
    assert judge(gold, answer) is equal


@pytest.mark.parametrize(
    "answer", ["??", "\\frac{", "\x00", "\ud800", "%s%n{0}", "9^{9^{9^{9}}}", "x^{100000}", "1" * 501, "((9!)!)!", "(" * 30]
)
def test_an_answer_that_cannot_be_read_is_said_to_be_so(answer: str) -> None:
    with pytest.raises(Unparsable):
        judge("5", answer)


def test_a_long_answer_equals_itself() -> None:
    assert judge("1" * 5000, "1" * 5000)
    assert not judge("1" * 5000, "1")


def test_a_worker_imports_neither_torch_nor_numpy() -> None:
    imported = "import sys, tandem.verify.worker, tandem.verify.equivalence; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", imported], capture_output=True, text=True, check=True, cwd=ROOT)
    assert "sympy" in done.stdout.split()
    assert not {"torch", "numpy", "ray"} & set(done.stdout.split())
