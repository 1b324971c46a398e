"""Tests of sets of real numbers that relations and equations describe together."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.verdicts import says

OR = [" or ", "\\text{ or }", " \\lor "]


@pytest.mark.parametrize(
    ("gold", "answer", "verdict"),
    [
        ("x<2 or x=5", "x<2 or x=6", "wrong"),
        ("x<2 or x=5", "x=5 or x<2", "correct"),
        ("x<2 or x=5", "x<=2 or x=5", "wrong"),
        ("x<2 or x=5", "y<2 or y=5", "wrong"),
        ("x>3 or x=1", "x=1 or x=3", "wrong"),
        ("x+y<2", "2>y+x", "correct"),
    ],
)
def test_reported_regions_get_expected_verdicts(gold: str, answer: str, verdict: str) -> None:
    assert says(gold, answer) == verdict


@settings(deadline=None)
@given(
    end=st.integers(-9, 9),
    points=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    relations=st.tuples(*[st.sampled_from(["<", "\\leq "])] * 2),
    joints=st.tuples(*[st.sampled_from(OR)] * 2),
    reverses=st.booleans(),
)
def test_ray_and_point_are_one_region(
    end: int, points: tuple[int, int], relations: tuple[str, str], joints: tuple[str, str], reverses: bool
) -> None:
    gold, answer = ((f"x{relation}{end}", f"x={end + point}") for relation, point in zip(relations, points, strict=True))
    same = points[0] == points[1] and relations[0] == relations[1]
    written = joints[1].join(answer[::-1] if reverses else answer)
    assert says(joints[0].join(gold), written) == ("correct" if same else "wrong")
