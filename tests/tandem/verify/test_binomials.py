"""Tests of binomials that are written as a column of two cells."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.verdicts import says

CASES = [
    (r"\binom{n}{k}", r"\left(\begin{array}{c} n \\ k \end{array}\right)", "correct"),
    (r"{n \choose k}", r"\begin{pmatrix} n \\ k \end{pmatrix}", "correct"),
    (r"\binom{2n}{n}-1", r"\left(\begin{array}{c}2n\\n\end{array}\right)-1", "correct"),
    (r"\binom{10}{3}\binom{5}{2}", r"\begin{pmatrix}10\\3\end{pmatrix}\begin{pmatrix}5\\2\end{pmatrix}", "correct"),
    (r"\binom{n}{k}", r"\begin{bmatrix} n \\ k \end{bmatrix}", "wrong"),
    (r"\binom{n}{k}", r"\begin{pmatrix} n & k \end{pmatrix}", "wrong"),
    (r"\binom{n}{k}", r"\begin{pmatrix} n \\ k \\ 1 \end{pmatrix}", "wrong"),
    (r"120", r"\begin{pmatrix} 10 \\ 3 \end{pmatrix}", "wrong"),
]


@pytest.mark.parametrize(("gold", "answer", "verdict"), CASES)
def test_reported_binomials_get_expected_verdicts(gold: str, answer: str, verdict: str) -> None:
    assert says(gold, answer) == verdict


COLUMNS = [
    r"\left(\begin{array}{c} %s \\ %s \end{array}\right)",
    r"\begin{pmatrix}%s\\%s\end{pmatrix}",
    r"\left(\begin{matrix} %s\\ %s\end{matrix}\right)",
    r"\bigl(\begin{smallmatrix} %s \\ %s \end{smallmatrix}\bigr)",
]
tops, bottoms = (
    st.sampled_from(["n", "2n", "n+1", r"\frac{m}{2}", "12"]),
    st.sampled_from(["k", "m-1", "2", "3", r"\frac{k}{2}"]),
)


@pytest.mark.seconds
@settings(deadline=None, max_examples=40)
@given(tops, bottoms, tops, st.sampled_from(COLUMNS), st.sampled_from(["%s", r"\frac{%s}{2}", "3-%s"]))
def test_column_is_binomial_only_if_gold_has_binomial(top: str, bottom: str, other: str, column: str, around: str) -> None:
    gold = around % rf"\binom{{{top}}}{{{bottom}}}"
    assert says(gold, around % (column % (other, bottom))) == ("correct" if top == other else "wrong")
    if around == "%s":
        assert says(column % (top, bottom), column % (other, bottom)) == ("correct" if top == other else "wrong")
        assert says(column % (top, bottom), gold) == "wrong"
