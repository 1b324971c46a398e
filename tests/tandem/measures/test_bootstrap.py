"""tandem/measures/bootstrap.py: coverage and error rates on simulated experiments, Holm's correction."""

from __future__ import annotations

from itertools import permutations
from math import sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.measures import bootstrap
from tandem.measures.bootstrap import OverSeeds, holm, over_seeds, resampled
from tandem.measures.estimates import t_quantile
from tandem.measures.score import Score

PROBLEMS, EXPERIMENTS = 60, 300


@pytest.fixture(scope="module", autouse=True)
def few_replicates() -> object:
    """Fewer replicates, so that many experiments can be simulated."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bootstrap, "REPLICATES", 1000)
        bootstrap._counts.cache_clear()
        yield
    bootstrap._counts.cache_clear()


def simulated(random: np.random.Generator, seeds: int, mean: float, of_seed: float, of_problem: float) -> OverSeeds:
    """One experiment: a difference with deviations between seeds and between problems, and noise for each text."""
    problems = random.normal(0, of_problem, PROBLEMS)
    values = [
        resampled({"difference": Score.mean_of(random.normal(mean + random.normal(0, of_seed), 0.1, PROBLEMS) + problems)})
        for _ in range(seeds)
    ]
    return over_seeds([value["difference"] for value in values])


@pytest.mark.seconds
@pytest.mark.parametrize(("seeds", "of_seed", "of_problem"), [(3, 0.05, 0.0), (8, 0.05, 0.1), (8, 0.02, 0.3), (10, 0.1, 0.0)])
def test_intervals_cover_and_p_values_are_uniform_under_null(seeds: int, of_seed: float, of_problem: float) -> None:
    random = np.random.default_rng(seeds)
    found = [simulated(random, seeds, 0.2, of_seed, of_problem) for _ in range(EXPERIMENTS)]
    covered = np.mean([each.estimate.low <= 0.2 <= each.estimate.high for each in found])  # type: ignore[operator]
    assert 0.93 <= covered <= 0.997
    p_values = np.array([each.p_greater(0.2) for each in found])
    for level in (0.05, 0.25, 0.5, 0.75):
        assert abs(np.mean(p_values <= level) - level) < 0.11
    assert np.mean(p_values <= 0.05) <= 0.08, "a test must not claim too often"
    np.testing.assert_allclose([each.p_less(0.2) for each in found], 1 - p_values, atol=0.05)


@pytest.mark.seconds
@pytest.mark.parametrize("of_seed", [0.01, 0.2])
@pytest.mark.parametrize("seeds", [2, 3, 4, 8])
def test_intervals_of_few_seeds_cover_and_agree_with_p_values(seeds: int, of_seed: float) -> None:
    random = np.random.default_rng(seeds)
    found = [simulated(random, seeds, 0.2, of_seed, 0.1) for _ in range(EXPERIMENTS)]
    bounds = np.array([(each.estimate.low, each.estimate.high) for each in found])
    below, above = bounds[:, 0] > 0.2, bounds[:, 1] < 0.2
    assert np.mean(below | above) <= 0.07
    p_greater, p_less = (np.array([getattr(each, name)(0.2) for each in found]) for name in ("p_greater", "p_less"))
    assert np.mean(p_greater <= 0.05) <= 0.08 and np.mean(p_less <= 0.05) <= 0.08, "a test must not claim too often"
    assert (p_greater[below] < 0.03).all() and (p_less[above] < 0.03).all()


@pytest.mark.parametrize(("seeds", "widened"), [(2, True), (5, True), (6, False), (8, False)])
def test_only_intervals_of_few_seeds_are_at_least_those_of_student(seeds: int, widened: bool) -> None:
    values = np.arange(float(seeds)) ** 3  # skewed, so that one bound is a percentile
    found = over_seeds([np.full(1 + bootstrap.REPLICATES, value) for value in values])
    half_width = t_quantile(0.975, seeds - 1) * sqrt(seeds / (seeds - 1)) * float(found.replicates.std())
    assert found.estimate.low is not None and found.estimate.high is not None
    assert (found.estimate.low <= found.mean - half_width) == widened
    assert found.estimate.high >= found.mean + half_width or not widened
    assert found.estimate.high >= np.quantile(found.replicates, 0.99)


@pytest.mark.seconds
def test_two_one_sided_tests_claim_equivalence_only_within_margin() -> None:
    random = np.random.default_rng(0)

    def claimed(mean: float) -> float:
        found = [simulated(random, 8, mean, 0.02, 0.0).p_equal(0.1) for _ in range(EXPERIMENTS)]
        return float(np.mean(np.array(found) <= 0.05))

    assert claimed(0.0) > 0.95
    assert claimed(0.1) <= 0.08 and claimed(-0.1) <= 0.08
    assert claimed(0.2) == 0


def test_single_seed_has_no_interval_and_proves_nothing() -> None:
    alone = over_seeds([resampled({"a": Score.mean_of(np.arange(10.0))})["a"]])
    assert alone.estimate.value == 4.5 and alone.estimate.low is None
    assert alone.p_greater() == alone.p_less() == alone.p_equal(100) == 1


def test_draws_pair_problems_between_scores_and_arms() -> None:
    random = np.random.default_rng(0)
    hard = random.uniform(size=PROBLEMS)
    one, other = resampled({"a": Score.mean_of(hard + 0.1)}), resampled({"a": Score.mean_of(hard), "b": Score(hard, 2 * hard)})
    assert one["a"].std() > 0.01
    np.testing.assert_allclose(one["a"] - other["a"], 0.1, atol=1e-12)
    np.testing.assert_allclose(other["b"], 0.5, atol=1e-12)


def test_draws_keep_size_of_each_set() -> None:
    sets = np.repeat([0, 1], [5, PROBLEMS - 5])
    macro = resampled({"set": Score.mean_of(sets).macro(sets)})["set"]
    np.testing.assert_allclose(macro, 0.5, atol=1e-12)
    assert resampled({"set": Score.mean_of(sets)})["set"].std() > 0.01, "without sets all problems are drawn together"


def test_replicates_without_any_weight_are_left_out() -> None:
    score = Score(np.eye(1, PROBLEMS)[0], np.eye(1, PROBLEMS)[0])
    assert np.isnan(resampled({"rare": score})["rare"]).any()
    found = over_seeds([resampled({"rare": score})["rare"]] * 2)
    assert found.estimate.low == found.estimate.high == 1


def test_holm_adjusts_as_computed_by_hand() -> None:
    # 4 * 0.005; 3 * 0.01; 2 * 0.03 = 0.06; 1 * 0.04, but not below 0.06.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=5))
def test_holm_lies_between_each_and_bonferroni_and_keeps_order(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    for p, after in zip(p_values, adjusted, strict=True):
        assert p <= after <= min(1.0, len(p_values) * p)
    for (p, after), (q, other) in permutations(zip(p_values, adjusted, strict=True), 2):
        assert p > q or after <= other
    assert adjusted[::-1] == holm(p_values[::-1])
