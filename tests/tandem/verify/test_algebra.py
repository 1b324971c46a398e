"""Tests of expressions that sympy evaluates wrongly: divisors and sums of unknowns, roots of negative numbers, huge numbers."""

from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.support.verdicts import says

pytestmark = pytest.mark.seconds

DIVISORS = [
    (r"\gcd(2m,2n)", r"2\gcd(m,n)", "correct"),
    (r"\gcd(2m,2n)", r"2", "wrong"),
    (r"\gcd(2m,n)", r"\gcd(m,n)", "wrong"),
    (r"\gcd(m,mn)", "m", "correct"),
    (r"\gcd(2^m-1,2^n-1)", "1", "wrong"),
    (r"\gcd(2^m-1,2^n-1)", r"2^{\gcd(m,n)}-1", "wrong"),
    (r"\gcd(12,18,27)", "3", "correct"),
    (r"\gcd(a,b)\cdot\operatorname{lcm}(a,b)", "ab", "correct"),
    (r"\operatorname{lcm}(a,b,c)", "abc", "wrong"),
    (r"\operatorname{lcm}(4,6,10)", "60", "correct"),
    (r"\gcd\left(a,b\right)", "1", "wrong"),
    (r"\gcd (m,n)>1", r"1<\gcd(n,m)", "correct"),
    (r"a+b-\gcd(a,b)", r"a+b-1", "wrong"),
    (r"2^{\gcd(m,n)}-1", r"1", "wrong"),
    (r"\operatorname{lcm}(m,n)", r"mn", "wrong"),
    (r"\gcd(m,n)", r"\gcd(n,m)", "correct"),
    (r"\gcd(m,n)", r"gcd(n,m)", "correct"),
    (r"\gcd(m,n)", r"1", "wrong"),
    (r"\gcd(12,18)", r"6", "correct"),
    (r"6", r"\gcd(12,18)", "correct"),
    (r"\operatorname{lcm}(4,6)", r"12", "correct"),
    (r"\frac{mn}{\gcd(m,n)}", r"\text{lcm}(m,n)", "correct"),
    (r"\gcd(m,n)", r"\gcd(m,k)", "wrong"),
    (r"\gcd(a+b,b)^2", r"\gcd(b,b+a)\cdot\gcd(b+a,b)", "correct"),
    (r"\gcd(m,n)=1", r"1=\gcd(n,m)", "correct"),
    (r"\gcd(\gcd(a,b),c)", r"\gcd(c,\gcd(b,a))", "correct"),
    (r"\sum_{i=1}^n\gcd(i,n)", r"\sum_{k=1}^n\gcd(n,k)", "correct"),
    (r"\sum_{i=1}^n\gcd(i,n)", r"n", "wrong"),
    (r"a+b+2-2\gcd(a, b)", r"2-2\gcd(b,a)+a+b", "correct"),
]
UNKNOWN_TERMS = [
    (r"\frac{1}{n}\sum_{i=1}^n x_i", r"x_i", "wrong"),
    (r"\frac{1}{n}\sum_{i=1}^n x_i", r"\frac{\sum_{j=1}^n x_j}{n}", "correct"),
    (r"\frac{1}{n}\sum_{i=1}^n x_i", r"\sum_{j=1}^n \frac{x_j}{n}", "correct"),
    (r"\sum_{i=1}^n a_i", r"\sum_{j=1}^n a_j", "correct"),
    (r"\sum_{i=1}^n a_i", r"\sum_{j=1}^n b_j", "wrong"),
    (r"\sum_{i=1}^n a_i", r"\sum_{j=1}^m a_j", "wrong"),
    (r"\sum_{i=1}^n a_i", r"\sum_{j=0}^n a_j", "wrong"),
    (r"\sum_{i=1}^n a_i", r"n a_i", "wrong"),
    (r"\int_0^1 f(x)dx", r"f(x)", "wrong"),
    (r"\int_0^1 f(x)dx", r"\int_0^1 f(t)dt", "correct"),
    (r"\int_0^{1}2f(x)dx", r"2\int_0^1 f(t)dt", "correct"),
    (r"\int_0^1 f(x)dx", r"\int_0^1 g(x)dx", "wrong"),
    (r"\int_0^1 f(x)dx", r"\int_0^2 f(x)dx", "wrong"),
    (r"\frac{dy}{dx}+2y=x", r"2y=x", "wrong"),
    (r"\frac{dy}{dx}+2y=x", r"x-2y=\frac{dy}{dx}", "correct"),
    (r"\frac{dy}{dx}=2y", r"2\frac{dy}{dx}=2y", "wrong"),
    (r"\frac{d}{dx}f(x)+1", r"1", "wrong"),
    (r"\frac{d}{dx}x^2", r"2x", "correct"),
    (r"\frac{d}{dx}f(x)", r"\frac{d}{dt}f(t)", "wrong"),
    (r"\sum_{i=1}^n i", r"\frac{n(n+1)}{2}", "correct"),
    (r"\int_0^1 x^2dx", r"\frac13", "correct"),
    (r"\sum_{i=1}^n (x_i-\mu)^2", r"\sum_{i=1}^n x_i^2-2\mu\sum_{i=1}^n x_i+n\mu^2", "correct"),
    (r"\sum_{i=1}^n\sum_{j=1}^i a_{ij}", r"\sum_{k=1}^n\sum_{l=1}^k a_{kl}", "correct"),
    (r"\sum_{i=1}^n\sum_{j=1}^i a_{ij}", r"\sum_{k=1}^n\sum_{l=1}^k a_{lk}", "wrong"),
    (r"\lim_{n\to\infty} a_n", r"a_n", "wrong"),
    (r"\lim_{n\to\infty} a_n", r"\lim_{k\to\infty} a_k", "correct"),
    (r"\sum_{n=0}^\infty a_nx^n", r"\sum_{k=0}^\infty a_kx^k", "correct"),
    (r"1+\sum_{n=0}^\infty a_nx^n", r"\sum_{k=0}^\infty a_kx^k", "wrong"),
    (r"2\sum_{n=0}^\infty a_nx^n", r"\sum_{k=0}^\infty 2a_kx^k", "correct"),
    (r"\prod_{k=1}^n a_k", r"a_k^n", "wrong"),
    (r"\prod_{k=1}^n a_k", r"\prod_{i=1}^n a_i", "correct"),
    (r"\lim_{x\to0}\frac{\sin x}{x}", r"1", "correct"),
    (r"\int f(x)dx", r"xf(x)", "wrong"),
    (r"\sum_{k=1}^n f(k)", r"nf(k)", "wrong"),
    (r"\frac{\partial u}{\partial t}=k u", r"ku=0", "wrong"),
    (r"\sqrt[3]{\gcd(a,b)}", r"1", "wrong"),
]
FACTORIAL_POWERS = [
    (r"\binom{2n}{n}", r"\frac{(2n)!}{n!^2}", "correct"),
    (r"(n!)^2", r"n!^2", "correct"),
    (r"14400", r"5!^2", "correct"),
    (r"14400", r"5!^{2}", "correct"),
    (r"120^2+1", r"5!^2", "wrong"),
    (r"\frac{(3n)!}{(n!)^3}", r"\frac{(3n)!}{n!^3}", "correct"),
    (r"((n+1)!)^2", r"(n+1)!^2", "correct"),
    (r"2(n!)^2", r"2n!^2", "correct"),
    (r"m(n!)^2", r"mn!^2", "correct"),
    (r"((2n)!)^2", r"[2n]!^2", "correct"),
    (r"24^2", r"4!^2", "correct"),
    (r"x_1!x_1!", r"x_1!^2", "correct"),
    (r"(\alpha!)^2", r"\alpha!^2", "correct"),
    (r"((n!)^2+1)!^2", r"((n!^2+1)!)^2", "correct"),
]
HUGE_COEFFICIENTS = [
    (r"2^{100}n+1", r"2^{100}n", "wrong"),
    (r"n\cdot2^{2024}+1", r"n\cdot 2^{2024}-1", "wrong"),
    (r"2^{2024}-1", r"2^{2024}-x", "wrong"),
    (r"2^{2024}-1", r"-1+2^{2024}", "correct"),
    (r"2^{100}n+1", r"1+4^{50}n", "correct"),
    (r"y=2^{100}x+1", r"y=2^{100}x", "wrong"),
    (r"y=2^{100}x+1", r"2y=2^{101}x+2", "correct"),
    (r"2^{100}e^x+1", r"2^{100}e^x", "wrong"),
    (r"x+10^{-30}", r"x", "wrong"),
    (r"\sin^2 x+\cos^2 x", r"1", "correct"),
    (r"2^{100}\sin x+x", r"2^{100}\sin x", "wrong"),
    (r"2^{99}\sin 2x+1", r"2^{100}\sin x\cos x+1", "correct"),
    (r"2^{99}\sin 2x+1", r"2^{100}\sin x\cos x", "wrong"),
    (r"2^{100}|n|+n", r"2^{100}|n|+|n|", "wrong"),
]
ODD_ROOTS = [
    (r"-2", r"\sqrt[3]{-8}", "correct"),
    (r"1", r"\sqrt[3]{2+\sqrt5}+\sqrt[3]{2-\sqrt5}", "correct"),
    (r"2", r"\sqrt[3]{-8}", "wrong"),
    (r"\sqrt[3]{1-x}", r"-\sqrt[3]{x-1}", "correct"),
    (r"x", r"\sqrt[3]{x^3}", "correct"),
    (r"|x|", r"\sqrt[3]{x^3}", "wrong"),
    (r"-3", r"\sqrt[5]{-243}", "correct"),
    (r"4", r"\sqrt[3]{-8}^2", "correct"),
    (r"4", r"(-8)^{2/3}", "correct"),
    (r"x<-2", r"x<\sqrt[3]{-8}", "correct"),
    (r"-\sqrt[3]{2}", r"\sqrt[3]{-2}", "correct"),
    (r"e^{i\pi/3}", r"\frac12+\frac{\sqrt3}{2}i", "correct"),
    (r"x<-2", r"x<\sqrt[3]{-8}+1", "wrong"),
    (r"(-1)^n", r"(-1)^{n+2}", "correct"),
    (r"(-1)^n", r"1", "wrong"),
    (r"\sqrt[3]{x^2}", r"\sqrt[3]{x}^2", "correct"),
    (r"\sqrt[6]{x^2}", r"\sqrt[3]{x}", "wrong"),
    (r"\sqrt{x}", r"\sqrt{-x}", "wrong"),
    (r"\sqrt{-4}", r"2i", "correct"),
    (r"x>1", r"i", "wrong"),
    (r"\sqrt[4]{x^4}", r"x", "wrong"),
    (r"\sqrt[4]{x^4}", r"|x|", "correct"),
    (r"y=\sqrt[3]{x}", r"y^3=x", "wrong"),
]
NO_EXPRESSIONS = [
    (r"S=\{2,3,5\}", r"A=\{2,3,5\}", "wrong"),
    (r"S=\{2,3,5\}", r"S=\{2,3,7\}", "wrong"),
    ("x>1", "i", "wrong"),
    (r"(0,1) \cup (2,3)", "2+i", "wrong"),
    (r"x \neq 0", r"\{i,-i\}", "wrong"),
]
UNKNOWN_FUNCTIONS = [
    (r"f(2x)", r"2f(x)", "wrong"),
    (r"f(2x)", r"f(x\cdot 2)", "correct"),
    (r"f(-x)", r"-f(x)", "wrong"),
    (r"f(\frac12)", r"\frac{f}{2}", "wrong"),
    (r"f(\frac12)", r"f(0.5)", "correct"),
    (r"f(f(x))+1", r"1+f(f(x))", "correct"),
    (r"f(f(x))+1", r"f(x)+1", "wrong"),
    (r"2f'(2x)", r"f'(2x)\cdot2", "correct"),
    (r"f'(2x)", r"2f'(x)", "wrong"),
    (r"f^{-1}(2x)", r"\frac{2x}{f}", "wrong"),
    (r"y=f(2x)", r"y=2f(x)", "wrong"),
    (r"\frac{f(x+h)-f(x)}{h}", r"\frac{-f(x)+f(h+x)}{h}", "correct"),
    (r"\int_0^1 f(2x)dx", r"\int_0^1 f(2t)dt", "correct"),
    (r"\int_0^1 f(2x)dx", r"\int_0^1 f(x)dx", "wrong"),
    (r"\sum_{k=1}^n f(k+1)", r"\sum_{j=1}^n f(j+1)", "correct"),
    (r"f'(2x)", r"f'\cdot 2x", "wrong"),
    (r"f (2x)", r"2f(x)", "wrong"),
    (r"f(2x)", r"2f(x)+f-f", "wrong"),
    (r"\frac{df}{dx}+f(2x)", r"\frac{df}{dx}+2f(x)", "wrong"),
    (r"\frac{f(c+v)}{c}", r"f \cdot \frac{c+v}{c}", "correct"),
    (r"\frac{f(c+v)}{c}", r"f+\frac{fv}{c}", "correct"),
    (r"f \cdot \frac{c+v}{c}", r"\frac{f(c+v)}{c}", "correct"),
    ("F = f(1-d)", "F=f-fd", "correct"),
    ("F = f(1-d)", "F=f+fd", "wrong"),
    ("f(g+h)", "fg+fh", "correct"),
    ("fg+fh", "f(g+h)", "correct"),
    ("f(g+h)+f", "f(g+h+1)", "correct"),
    (r"\frac12h(a+b)", r"\frac{ha+hb}{2}", "correct"),
]
SUBSCRIPTS_OF_NUMBERS = [
    (r"1024", r"2^{10}_3", "unparsable"),
    (r"60", r"60^\circ_7", "unparsable"),
    (r"(x+1)^2", r"(x+1)^2_5", "unparsable"),
    (r"x_1^2", r"x_1\cdot x_1", "correct"),
    (r"\sum_{i=1}^n i", r"\sum^{n}_{i=1} i", "correct"),
]
TABLES = [
    *DIVISORS,
    *UNKNOWN_FUNCTIONS,
    *SUBSCRIPTS_OF_NUMBERS,
    *UNKNOWN_TERMS,
    *FACTORIAL_POWERS,
    *HUGE_COEFFICIENTS,
    *ODD_ROOTS,
    *NO_EXPRESSIONS,
]


@pytest.mark.parametrize(("gold", "answer", "verdict"), TABLES)
def test_expressions_get_expected_verdicts(gold: str, answer: str, verdict: str) -> None:
    assert says(gold, answer) == verdict


letters = st.sampled_from("abkmnpxy")


@settings(deadline=None, max_examples=40)
@given(one=letters, other=letters, name=st.sampled_from(["gcd", "lcm"]), form=st.sampled_from(["{}", "2^{{{}}}-1", "a-{}"]))
def test_divisor_of_variables_equals_only_itself(one: str, other: str, name: str, form: str) -> None:
    assume(one != other)
    gold = form.format(rf"\operatorname{{{name}}}({one},{other})")
    assert says(gold, form.format(rf"\{name}({other}, {one})")) == "correct"
    for value in ("1", f"{one}{other}", one, rf"\{name}({one},q)"):
        assert says(gold, form.format(value)) == "wrong", value


@settings(deadline=None, max_examples=40)
@given(
    operation=st.sampled_from([r"\sum_{{{0}=1}}^n", r"\prod_{{{0}=1}}^n", r"\sum_{{{0}=1}}^{{n}}", r"\sum_{{{0}=0}}^\infty "]),
    term=st.sampled_from(["a_{0}", "a_{{{0}}}^2", "a_{{{0}+1}}b_{0}", "x^{0}a_{0}", "(a_{0}+3^{{-{0}}})", "f({0})"]),
    index=st.sampled_from("ijk"),
    other=st.sampled_from("ijkl"),
)
def test_index_of_unknown_terms_has_no_meaning(operation: str, term: str, index: str, other: str) -> None:
    gold = f"1+{operation.format(index)} {term.format(index)}"
    assert says(gold, f"{operation.format(other)} {term.format(other)}+1") == "correct"
    for value in (term.format(index), f"n {term.format(index)}", f"{operation.format(other)} {term.format(other)}"):
        assert says(gold, value) == "wrong", value


coefficients = st.integers(-50, 50).filter(bool)


@settings(deadline=None, max_examples=40)
@given(power=st.integers(70, 3000), slope=coefficients, constant=coefficients, form=st.sampled_from(["{}", "y={}", "e^x+{}"]))
def test_small_term_beside_huge_coefficient_counts(power: int, slope: int, constant: int, form: str) -> None:
    gold = form.format(f"2^{{{power}}}x^2+{slope}x+{constant}".replace("+-", "-"))
    assert says(gold, form.format(f"{constant}+{slope}x+2\\cdot 2^{{{power - 1}}}x^2".replace("+-", "-"))) == "correct"
    for near in (f"2^{{{power}}}x^2+{slope}x+{constant + 1}", f"2^{{{power}}}x^2+{slope - 1}x+{constant}"):
        assert says(gold, form.format(near.replace("+-", "-"))) == "wrong", near


@settings(deadline=None, max_examples=40)
@given(root=st.integers(2, 9), degree=st.sampled_from([3, 5, 7]), factor=st.integers(1, 5))
def test_odd_root_of_negative_number_is_real(root: int, degree: int, factor: int) -> None:
    answer = rf"{factor}\sqrt[{degree}]{{-{root**degree}}}"
    assert says(str(-factor * root), answer) == says(answer, str(-factor * root)) == "correct"
    assert says(str(factor * root), answer) == "wrong"
    assert says(rf"-\sqrt[{degree}]{{{root}}}", rf"\sqrt[{degree}]{{-{root}}}") == "correct"


@settings(deadline=None, max_examples=40)
@given(
    factor=st.integers(2, 9), addend=st.integers(1, 9), letter=letters, form=st.sampled_from(["{}", "1+{}", "y={}", "3{}^2"])
)
def test_value_of_unknown_function_is_no_product(factor: int, addend: int, letter: str, form: str) -> None:
    gold = form.format(f"f({factor}{letter}+{addend})")
    assert says(gold, form.format(f"f({addend}+{letter}\\cdot {factor})")) == "correct"
    for value in (f"f({letter})", f"{factor}f({letter})+f({addend})"):
        assert says(gold, form.format(value)) == "wrong", value


@given(base=st.integers(2, 20), power=st.integers(2, 6), index=st.sampled_from(["3", "{10}", "n", "{\\text{two}}"]))
def test_power_with_subscript_is_no_number(base: int, power: int, index: str) -> None:
    for answer in (f"{base}^{power}_{index}", f"{base}^{{{power}}}_{index}", f"({base})^{{{power}}}_{index}"):
        assert says(str(base**power), answer) != "correct", answer
    assert says(str(base), f"{base}^\\circ_{index}") != "correct"
