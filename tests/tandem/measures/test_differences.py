"""tandem/measures/differences.py: two evaluations compared by their common problems."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.config.schema import ConfigError
from tandem.measures.differences import ProblemScores, compare_evaluations

CORRECT = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=1, max_size=40)


def evaluated(values: dict[str, float], label: str = "x", **sets: str) -> ProblemScores:
    return ProblemScores(label, {(sets.get(name, ""), name): {"solo/accuracy": (value, 1.0)} for name, value in values.items()})


@given(pairs=CORRECT)
def test_difference_is_that_of_means_and_lies_in_its_interval(pairs: list[tuple[int, int]]) -> None:
    first, second = (evaluated({str(i): pair[which] for i, pair in enumerate(pairs)}) for which in (0, 1))
    ((found,), count) = compare_evaluations(first, second)
    assert count == len(pairs)
    assert found.difference.value == pytest.approx(np.mean([b - a for a, b in pairs]))
    assert (found.greater, found.less) == (sum(b > a for a, b in pairs), sum(a > b for a, b in pairs))
    low, high = found.difference.low, found.difference.high
    assert (low is None) == (high is None) == (len({b - a for a, b in pairs}) == 1), "equal differences have no interval"
    assert low is None or high is None or low - 1e-9 <= found.difference.value <= high + 1e-9


@pytest.mark.parametrize("change", [0, 0.1])
def test_equal_differences_have_no_interval(change: float) -> None:
    hard = np.random.default_rng(0).random(50)
    first, second = (evaluated({str(i): value + more for i, value in enumerate(hard)}) for more in (0, change))
    ((found,), _) = compare_evaluations(first, second)
    assert found.difference.value == pytest.approx(change)
    assert found.difference.low is found.difference.high is None


def test_each_set_is_resampled_by_itself() -> None:
    """All of a large set improves; of a small one nothing, or two problems of 30."""
    sets = {f"a{i}": "small" for i in range(30)} | {f"b{i}": "large" for i in range(500)}
    before = evaluated(dict.fromkeys(sets, 0.0), **sets)
    after = {name: float(of == "large") for name, of in sets.items()}
    ((found,), _) = compare_evaluations(before, evaluated(after, **sets))
    assert found.difference.value == pytest.approx(0.5)
    assert found.difference.low is found.difference.high is None, "no draw gives another macro-average"
    ((found,), _) = compare_evaluations(before, evaluated(after | {"a0": 1.0, "a1": 1.0}, **sets))
    assert found.difference.low == pytest.approx(0.5) and found.difference.high == pytest.approx(0.5 + 5 / 30 / 2)


def test_interval_covers_difference_of_problems_and_not_of_evaluations() -> None:
    random = np.random.default_rng(1)
    hard = random.random(400)
    first = evaluated({str(i): float(value > 0.5) for i, value in enumerate(hard)})
    second = evaluated({str(i): float(value > 0.45) for i, value in enumerate(hard)})
    ((found,), _) = compare_evaluations(first, second)
    assert found.difference.low is not None and found.difference.low > 0, "unpaired, the interval would hold 0"


def test_only_common_problems_count_and_sets_count_the_same() -> None:
    first = evaluated({"a": 0, "b": 1, "c": 0, "d": 0}, a="one", b="two", c="two", d="two")
    second = evaluated({"a": 1, "b": 1, "c": 1, "e": 1}, a="one", b="two", c="two", e="two")
    ((found,), count) = compare_evaluations(first, second)
    assert count == 3 and found.difference.value == pytest.approx((1 + 0.5) / 2)


def test_evaluations_without_common_problem_or_measure_are_refused() -> None:
    with pytest.raises(ConfigError, match="no problem in common"):
        compare_evaluations(evaluated({"a": 1}), evaluated({"b": 1}))
    with pytest.raises(ConfigError, match="no measure in common"):
        compare_evaluations(evaluated({"a": 1}), ProblemScores("x", {("", "a"): {"drift/kl": (1.0, 1.0)}}))


def test_measure_of_no_problem_is_left_out() -> None:
    both = ProblemScores("x", {("", "a"): {"solo/accuracy": (1.0, 1.0), "solo/jargon_accuracy": (0.0, 0.0)}})
    ((found,), _) = compare_evaluations(both, both)
    assert found.measure == "solo/accuracy"
