"""Tests of multiple choice, yes and no."""

from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.support.verdicts import accepts


@pytest.mark.parametrize(
    ("gold", "answer", "equal"),
    [
        ("B", "B.", True),
        ("B", "B. or C.", False),
        ("B", "(B) 5", True),
        ("B", "(B) 5, (C) 6", False),
        ("B", "(B) 5 or C", False),
        ("B", "B: 5, C: 6", False),
        ("B", "B) 5 and C) 6", False),
        ("B", "\\text{B) and C)}", False),
        ("B", "\\text{(B) or (C)}", False),
        ("B", "(B)/(C)", False),
        ("B", "(B) P(A)", True),
        ("E", "(E) A or B", True),
        ("D", "(D) Both (A) and (B)", True),
        ("A", "(D) Both (A) and (B)", False),
        ("-5", "\\textbf{(B)}\\ -5", True),
        ("-5", "\\textbf{(B)}-5", True),
        ("B", "(B) $-5$", True),
        ("\\textbf{(B)}\\ -5", "B", True),
        ("\\textbf{(B)}\\ -5", "-5", True),
        ("\\textbf{(B)}\\ -5", "5", False),
        ("\\textbf{(B)}\\ -5", "C", False),
        ("-\\frac12", "\\textbf{(B)}\\ -\\frac12", True),
        ("\\pm 5", "\\textbf{(B)}\\ \\pm 5", True),
        ("(1,2)", "\\textbf{(B)}\\ (1,2)", True),
        ("(1,2)", "(B) (1,2)", True),
        ("B", "\\textbf{(B)}\\ (1,2)", True),
        ("B", "(B)-5", False),
        ("B", "(B) - 5", False),
        ("B(x+1)", "(B)(x+1)", True),
        ("True", "True, False", False),
        ("False", "True, False", False),
        ("True", "True; it is not false", True),
        ("Yes", "Yes, or no", False),
        ("Yes", "Yes, maybe no.", False),
        ("Yes", "Yes, there are no others", True),
        ("Yes", "Yes, and it is unique", True),
        ("No", "No, it is not true", True),
        ("AC", "A, C", True),
        ("AC", "A and C", True),
        ("AC", "(A), (C)", True),
        ("AC", "Options A and C", True),
        ("A, C", "AC", True),
        ("AC", "A", False),
        ("AC", "A, C, D", False),
        ("AC", "A or C", False),
        ("A, C", "A or C", False),
        ("ABC", "C, B, A", False),
        ("XY", "X, Y", False),
        ("AC", "(A, C)", False),
        ("AC", "CA", True),
        ("AC", "A \\cdot C", True),
    ],
)
def test_only_one_choice_is_answer(gold: str, answer: str, equal: bool) -> None:
    assert accepts(gold, answer) is equal


letters = st.sampled_from("ABCDE")
MARKS = ["({})", "{})", "{}.", "{}:", "\\text{{({})}}", "\\textbf{{({})}}", "\\textbf{{{})}}"]
marks = st.sampled_from(MARKS)


@settings(deadline=None)
@given(letters, letters, marks, st.sampled_from([", ", " or ", " and ", "; ", "/"]), st.sampled_from(["", " 5"]))
def test_answer_with_two_choices_is_neither(one: str, other: str, mark: str, joint: str, text: str) -> None:
    assume(one != other)
    answer = mark.format(one) + text + joint + mark.format(other) + text
    assert not accepts(one, answer)
    assert not accepts(other, answer)


VALUES = ["-5", "-\\frac{1}{2}", "\\pm 3", "(1, 2)", "[1, 2)", "(-\\infty, 2)", "-\\sqrt{2}", "12", "-x", "(0, 0, 1)"]


@settings(deadline=None)
@given(letters, letters, st.sampled_from(MARKS), st.sampled_from(VALUES), st.sampled_from(VALUES))
def test_choice_may_have_value(letter: str, other: str, mark: str, value: str, another: str) -> None:
    choice = f"{mark.format(letter)} {value}"
    assert accepts(value, choice)
    assert accepts(other, choice) is (letter == other)
    assert accepts(choice, other) is (letter == other)
    assert accepts(another, choice) is (value == another)


@given(
    st.sampled_from([("Yes", "no"), ("No", "yes"), ("True", "false"), ("False", "true")]),
    st.sampled_from([", ", "; ", ", or ", ". "]),
)
def test_opposites_are_no_answer(words: tuple[str, str], joint: str) -> None:
    assert not accepts(words[0], joint.join(words))
    assert not accepts(words[1], joint.join(words))


ROWS = ["{}", "\\text{{{}}}", "\\textbf{{{}}}"]
LISTS = ["{}", "({})", "\\text{{({})}}", "\\textbf{{{}}}", "\\mathrm{{{}}}"]
several = st.lists(letters, min_size=2, max_size=4, unique=True).map(sorted)


@st.composite
def written_letters(draw: st.DrawFn, chosen: list[str]) -> str:
    """Draw a spelling of several choices: a row, or a list."""
    if draw(st.booleans()):
        return draw(st.sampled_from(ROWS)).format("".join(chosen))
    items = [draw(st.sampled_from(LISTS)).format(letter) for letter in chosen]
    last = draw(st.sampled_from([", ", ",", " and ", ", and ", "; ", " \\text{ and } "]))
    return last.join([", ".join(items[:-1]), items[-1]])


@settings(deadline=None)
@given(st.data(), several, several)
def test_several_choices_are_all_named(data: st.DataObject, one: list[str], other: list[str]) -> None:
    gold = data.draw(written_letters(one))
    assert accepts(gold, data.draw(written_letters(other))) is (one == other)
    assert not accepts(gold, " or ".join(one))
    assert not accepts(gold, one[0])
    assert not accepts(one[0], gold)
