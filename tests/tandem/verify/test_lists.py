"""Tests of lists: what "or" joins, lists of solutions, repeated values, labels and counted things."""

from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.support.verdicts import says

CONNECTIVES = [
    ("(1,2)", r"1\text{ or }2", "wrong"),
    (r"1\text{ or }2", "(1,2)", "wrong"),
    ("x=1,y=2", r"x=1\text{ or }y=2", "wrong"),
    ("x=1,y=2", r"1\text{ or }2", "wrong"),
    ("x_1=1,x_2=2", r"x_1=1\text{ or }x_2=2", "correct"),
    ("1,2", r"1\text{ or }2", "correct"),
    (r"p \land q", r"p \lor q", "wrong"),
    (r"p \lor q", r"q \lor p", "correct"),
    (r"p \land q \lor r", r"p \lor q \land r", "unparsable"),
    ("2,3,5", "2, 3, or 5", "correct"),
]
SOLUTIONS = [
    (r"x=1,y=2 \text{ or } x=3,y=4", r"x=1,y=4 \text{ or } x=3,y=2", "wrong"),
    ("(1,2),(3,4)", r"x=1,y=2 \text{ or } x=3,y=4", "correct"),
    ("(1,2),(3,4)", "x=1, y=2; x=3, y=4", "correct"),
    ("(1,2),(3,4)", "x=3, y=4, x=1, y=2", "correct"),
    (r"\{(1,2),(3,4)\}", "1,2,3,4", "wrong"),
    (r"\{(1,2),(3,4)\}", "(1,2,3,4)", "wrong"),
    ("(1,2),(-1,2)", r"(\pm1,2)", "correct"),
    (r"(\pm1,2)", "(1,2)", "wrong"),
    ("(1,2)", r"\{(1,2)\}", "correct"),
    (r"\{(1,2)\}", "(1,2)", "correct"),
    ("(1,2)", r"\{1,2\}", "wrong"),
    (r"\{(1,2)\}", "[1,2]", "wrong"),
    ("[1,2)", r"\{[1,2)\}", "correct"),
]
NO_NAMES = [
    ("5", r"\text{not }x=5", "wrong"),
    ("(2,3)", "(y,y)=(2,3)", "wrong"),
    ("(2,3)", "(a+b,ab)=(2,3)", "correct"),
]


@pytest.mark.parametrize(("gold", "answer", "verdict"), [*CONNECTIVES, *SOLUTIONS, *NO_NAMES])
def test_lists_get_expected_verdicts(gold: str, answer: str, verdict: str) -> None:
    assert says(gold, answer) == verdict


numbers = st.integers(-99, 99)
joints = st.sampled_from([r" \text{ or } ", " or ", r" \lor "])


@given(one=numbers, other=numbers, joint=joints)
def test_or_joins_no_tuple(one: int, other: int, joint: str) -> None:
    assume(one != other)
    for answer in (f"{one}{joint}{other}", f"x={one}{joint}y={other}"):
        for gold in (f"({one},{other})", f"x={one},y={other}", f"(x,y)=({one},{other})"):
            assert says(gold, answer) == says(answer, gold) == "wrong", (gold, answer)
    assert says(f"{one},{other}", f"{one}{joint}{other}") == "correct"


@settings(deadline=None)
@given(
    pairs=st.lists(st.tuples(numbers, numbers), min_size=2, max_size=4, unique=True),
    joint=st.sampled_from([" or ", "; ", ", "]),
)
def test_solutions_in_names_are_list_of_pairs(pairs: list[tuple[int, int]], joint: str) -> None:
    gold = ", ".join(f"({x},{y})" for x, y in pairs)
    assert says(gold, joint.join(f"x={x}, y={y}" for x, y in reversed(pairs))) == "correct"
    assert says(gold, ",".join(f"{x},{y}" for x, y in pairs)) == "wrong"
    swapped = [(x, other) for (x, _), (_, other) in zip(pairs, (*pairs[1:], pairs[0]), strict=True)]
    if set(swapped) != set(pairs):
        assert says(gold, joint.join(f"x={x}, y={y}" for x, y in swapped)) == "wrong"
