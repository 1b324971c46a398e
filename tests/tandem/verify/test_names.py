"""Tests of values with names: chains, tuples and lists."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.verify.equivalence import judge
from tandem.verify.plain import settle


@pytest.mark.parametrize(
    ("gold", "answer", "equal"),
    [
        ("x=y=z=2", "x=2", False),
        ("x=y=z=2", "2", True),
        ("x=y=z=2", "(2,2,2)", True),
        ("x=y=z=2", "(2,2)", False),
        ("x=y=z=2", "x=2, y=2, z=2", True),
        ("x=2, y=2, z=2", "x=y=z=2", True),
        ("x=2, y=2, z=3", "x=y=z=2", False),
        ("x=y=2, z=3", "x=2, y=2, z=3", True),
        ("(2,2,3)", "x=y=2, z=3", True),
        ("(0,0,0)", "x=y=z=0", True),
        ("(0,0,0)", "x=y=0", False),
        ("(x,y,z)=(0,0,0)", "x=y=z=0", True),
        ("2", "x=y=2", True),
        ("a=b=c", "a=c", False),
        ("a=b=c", "c=b=a", True),
        ("y=f(x)=x^2", "y=x^2", True),
        ("(a,b)=(2,3)", "b=2, a=3", False),
        ("(a,b)=(2,3)", "b=3, a=2", True),
        ("(a,b)=(2,3)", "(b,a)=(3,2)", True),
        ("(a,b)=(2,3)", "(b,a)=(2,3)", False),
        ("(a,b)=(2,3)", "c=2, b=3", False),
        ("(a,b)=(2,3)", "(2,3)", True),
        ("(a,b)=(2,3)", "a=2", False),
        ("(x,y)=(2,3)", "y=3, x=2", True),
        ("P=(2,3)", "(x,y)=(2,3)", True),
        ("(2,3)", "y=3, x=2", True),
        ("(2,3)", "x=3, y=2", False),
        ("2, 3", "y=3, x=2", True),
        ("(2,3)", "a_2=3, a_1=2", True),
        ("(2,3)", "m=2, b=3", True),
        ("(2,3)", "(b,a)=(2,3)", True),
        ("x=2, y=3", "(x,y)=(2,3)", True),
        ("x=2, y=3", "(y,x)=(2,3)", False),
        ("x=2, y=3", "(a,b)=(2,3)", False),
        ("x_1=2, x_2=3", "(x_1,x_2)=(2,3)", True),
        ("x=1, x=-1", "x=\\pm 1", True),
        ("x=1 \\text{ or } x=-1", "x=\\pm 1", True),
        ("x=1, x=-1", "y=\\pm 1", False),
        ("x=1+\\sqrt2, x=1-\\sqrt2", "x=1\\pm\\sqrt2", True),
        ("(x,y)=(1,2), (x,y)=(2,1)", "(x,y)=(1,2),(2,1)", True),
        ("(x,y)=(1,2), (x,y)=(2,1)", "x=1, y=2", False),
        ("S=\\{2,3,5\\}", "S=\\{5,3,2\\}", True),
        ("S=\\{2,3,5\\}", "A=\\{2,3,5\\}", False),
        ("P=(2,3)", "Q=(2,3)", False),
    ],
)
def test_names_count(gold: str, answer: str, equal: bool) -> None:
    assert judge(gold, answer) is equal


@st.composite
def named_numbers(draw: st.DrawFn) -> tuple[dict[str, int], list[str]]:
    """Draw values with names and ways to state them."""
    names = draw(st.sampled_from(["xyz", "abc", "xy", "mn", "ab"]))
    values = dict(zip(names, draw(st.lists(st.integers(-2, 2), min_size=len(names), max_size=len(names))), strict=True))
    shuffled = draw(st.permutations(list(values)))
    ways = [", ".join(f"{name}={values[name]}" for name in shuffled)]
    ways.append(f"({','.join(shuffled)}) = ({','.join(str(values[name]) for name in shuffled)})")
    if len(set(values.values())) == 1:
        ways.append("=".join([*shuffled, str(next(iter(values.values())))]))
    return values, ways


@given(st.data(), named_numbers(), named_numbers())
def test_ways_to_name_values_are_equal(
    data: st.DataObject, one: tuple[dict[str, int], list[str]], other: tuple[dict[str, int], list[str]]
) -> None:
    gold, answer = data.draw(st.sampled_from(one[1])), data.draw(st.sampled_from(one[1]))
    assert judge(gold, answer)
    assert judge(gold, data.draw(st.sampled_from(other[1]))) is (one[0] == other[0])


@given(named_numbers(), st.lists(st.integers(-2, 2), min_size=2, max_size=3))
def test_named_values_are_sorted_for_tuple(named: tuple[dict[str, int], list[str]], gold: list[int]) -> None:
    values, (listed, *_) = named
    assert settle(f"({','.join(map(str, gold))})", listed) is (list(values.values()) == gold)
