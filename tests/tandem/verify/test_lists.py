"""Tests of lists: what "or" joins, lists of solutions, repeated values, labels and counted things."""

from __future__ import annotations

import random

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
UNSOLVED = [
    ("1,2", "2x=1, 3x=2", "wrong"),
    ("x=1,2", "x^2=1,2", "wrong"),
    ("a=4,-8,-10", "2a=4,-8,-10", "wrong"),
    ("1,2", "x+1=1, x+2=2", "wrong"),
    ("1,4", "x=1, x^2=4", "wrong"),
    ("1,2", "a=1, 2a=2", "wrong"),
    ("1,2", "x^2=1, x=2", "wrong"),
    ("1,2", "x=1, 2y=2", "wrong"),
    ("15,30", "x=15, 2x=30", "wrong"),
    ("(1,4)", "x=1, x^2=4", "wrong"),
    ("x=1,4", "x=1, x^2=4", "wrong"),
    ("1,4", r"x=1, \frac{x}{2}=4", "wrong"),
    ("1,4", r"2\theta=1, \theta=4", "wrong"),
    ("1,2", "x=1, y=2", "correct"),
    ("x=1,y=2", "x=1, 2y=4", "correct"),
    ("1,2", "x+y=1, xy=2", "correct"),
    ("3,4", "|z|=3, |w|=4", "correct"),
    (r"\frac12,1", r"\sin A=\frac12, \sin B=1", "correct"),
    ("3,5", "f(2)=3, f(3)=5", "correct"),
    ("1,2", "x=1, x=2", "correct"),
]
REPEATED = [
    ("2,2,3", "2,3,3", "wrong"),
    ("2,2,3", "3,2,2", "correct"),
    (r"\sqrt8,2,2", r"2,2\sqrt2,2\sqrt2", "wrong"),
]
COUNTED = [
    (r"2\text{ boys and }3\text{ girls}", r"3\text{ boys and }2\text{ girls}", "wrong"),
    (r"2\text{ boys and }3\text{ girls}", r"3\text{ girls and }2\text{ boys}", "correct"),
    (r"2\text{ boys and }3\text{ girls}", "2, 3", "correct"),
    ("2 apples, 3 apples", "3 apples, 2 apples", "correct"),
    (r"1 \text{ girl}, 2 \text{ boys}", r"2 \text{ girls}, 1 \text{ boy}", "wrong"),
    (r"1 \text{ girl}, 2 \text{ boys}", r"2 \text{ boys}, 1 \text{ girl}", "correct"),
    ("1 apple and 2 pears", "2 apples and 1 pear", "wrong"),
    ("2 red balls, 3 blue balls", "3 red, 2 blue", "wrong"),
    (r"2\text{ red balls}, 3\text{ blue balls}", r"3\text{ red}, 2\text{ blue}", "wrong"),
    (r"2\text{ red balls}, 3\text{ blue balls}", r"3\text{ blue}, 2\text{ red}", "correct"),
    (r"2\text{ red}, 3\text{ blue}", r"3\text{ blue balls and }2\text{ red balls}", "correct"),
    ("2 boys and 3 girls", "3 males and 2 females", "wrong"),
    ("2 boys and 3 girls", "2 males and 3 females", "correct"),
    (r"\text{one girl and two boys}", r"\text{two girls and one boy}", "wrong"),
    (r"2\text{ girls and }1\text{ boy}", r"\text{one boy and two girls}", "correct"),
    ("2xy, 3ab", "3ba, 2yx", "correct"),
]
RELATIONS = [
    ("k>2", "k>2,0", "unparsable"),
    ("x>3", "x>1, 2, 3", "unparsable"),
    (r"x\neq 1,2", r"x\neq 2, 1", "correct"),
    (r"x<2\text{ or }x=5", r"(-\infty,2)\cup\{5\}", "correct"),
    (r"(1,2)\cup\{3\}", r"1<x<2 \text{ or } x=3", "correct"),
    (r"x\leq 0, x=2", r"(-\infty,0]\cup\{2\}", "correct"),
    (r"x<2\text{ or }x=5", r"x<2\text{ or }x=6", "wrong"),
    (r"x\geq 2", "x=2", "wrong"),
]
TABLES = [*CONNECTIVES, *SOLUTIONS, *NO_NAMES, *UNSOLVED, *REPEATED, *COUNTED, *RELATIONS]


@pytest.mark.parametrize(("gold", "answer", "verdict"), TABLES)
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


@given(values=st.lists(numbers, min_size=3, max_size=6), order=st.randoms())
def test_repeated_values_count(values: list[int], order: random.Random) -> None:
    shuffled = order.sample(values, len(values))
    assert says(", ".join(map(str, values)), ", ".join(map(str, shuffled))) == "correct"
    first, second = values[:2]
    if first != second:
        one, other = ([value, *values] for value in (first, second))
        assert says(", ".join(map(str, one)), ", ".join(map(str, other))) == "wrong"


THINGS = {
    "boys": "boy",
    "girls": "girl",
    "red balls": "red ball",
    "blue balls": "blue ball",
    "pennies": "penny",
    "boxes": "box",
    "knives": "knife",
    "buses": "bus",
    "children": "child",
    "houses": "house",
    "glasses": "glass",
    "dishes": "dish",
    "heroes": "hero",
    "toes": "toe",
    "quizzes": "quiz",
    "leaves": "leaf",
    "prizes": "prize",
    "horses": "horse",
}


@settings(deadline=None)
@given(
    one=st.integers(1, 5), other=st.integers(1, 5), things=st.permutations(list(THINGS)), joint=st.sampled_from([", ", " and "])
)
def test_counted_things_keep_their_numbers(one: int, other: int, things: list[str], joint: str) -> None:
    assume(one != other)
    first, second, *_ = things

    def states(*items: tuple[int, str]) -> str:
        return joint.join(f"{number}\\text{{ {THINGS[thing] if number == 1 else thing}}}" for number, thing in items)

    gold = states((one, first), (other, second))
    assert says(gold, states((other, first), (one, second))) == "wrong"
    assert says(gold, states((one, second), (other, first))) == "wrong"
    assert says(gold, states((other, second), (one, first))) == "correct"


@settings(deadline=None, max_examples=40)
@given(end=numbers, others=st.lists(numbers, min_size=1, max_size=3), relation=st.sampled_from(["<", ">", r"\leq ", r"\geq "]))
def test_numbers_beside_relation_are_no_ends(end: int, others: list[int], relation: str) -> None:
    gold = f"x{relation}{end}"
    assert says(gold, ", ".join([gold, *map(str, others)])) != "correct"
    assert says(gold, ", ".join([f"x{relation}{others[0]}", str(end)])) != "correct"


@settings(deadline=None, max_examples=40)
@given(values=st.lists(st.integers(2, 99), min_size=2, max_size=4, unique=True), form=st.sampled_from(["{}x", "x^{}", "x+{}"]))
def test_unsolved_equations_state_no_values(values: list[int], form: str) -> None:
    gold = ", ".join(map(str, values))
    assert says(gold, ", ".join(f"{form.format(place + 2)}={value}" for place, value in enumerate(values))) == "wrong"
    assert says(gold, ", ".join(f"x={value}" for value in values)) == "correct"


@given(values=st.lists(numbers, min_size=2, max_size=3))
def test_system_of_equations_states_values_in_order(values: list[int]) -> None:
    rows = [f"{name}={value}" for name, value in zip("xyz", values, strict=False)]
    gold = f"({','.join(map(str, values))})"
    for order in (rows, rows[::-1]):
        system = r"\\".join(order)
        assert says(gold, rf"\begin{{cases}}{system}\end{{cases}}") == "correct"
        assert says(gold, rf"\left\{{\begin{{array}}{{l}}{system}\end{{array}}\right.") == "correct"
    if values != values[::-1]:
        swapped = r"\\".join(f"{name}={value}" for name, value in zip("xyz", values[::-1], strict=False))
        assert says(gold, rf"\begin{{cases}}{swapped}\end{{cases}}") == "wrong"
