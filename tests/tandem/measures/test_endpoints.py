"""tandem/measures/endpoints.py: verdicts on claims."""

from __future__ import annotations

import numpy as np
import pytest

from tandem.measures.bootstrap import OverSeeds
from tandem.measures.endpoints import CONTRADICTED, NOT_SHOWN, SHOWN, Endpoint, verdicts


def difference(mean: float, deviation: float = 0.01) -> OverSeeds:
    """A mean over eight seeds with normally distributed replicates."""
    return OverSeeds(mean, np.sort(np.random.default_rng(0).normal(mean, deviation, 4000)), 8)


def endpoint(claim: str, measures: int = 1) -> Endpoint:
    return Endpoint(
        claim, "published", [f"m{i}" for i in range(measures)], ["a", "b"], claim, 0.03 if claim == "equal" else 0.0
    )


@pytest.mark.parametrize(
    ("claim", "means", "word"),
    [
        ("equal", [0.0], SHOWN),
        ("equal", [0.02], NOT_SHOWN),
        ("equal", [-0.09], CONTRADICTED),
        ("greater", [0.1], SHOWN),
        ("greater", [0.1, 0.1], SHOWN),
        ("greater", [0.1, 0.0], NOT_SHOWN),
        ("greater", [0.1, -0.1], CONTRADICTED),
        ("less", [0.0], NOT_SHOWN),
        ("less", [-0.1], SHOWN),
        ("less", [0.1], CONTRADICTED),
    ],
)
def test_verdict_needs_every_measure_and_names_opposite(claim: str, means: list[float], word: str) -> None:
    found = {f"m{index}": difference(mean) for index, mean in enumerate(means)}
    (verdict,) = verdicts([endpoint(claim, len(means))], lambda _, measure: found[measure])
    assert verdict.conclusion == word
    assert [each.value for each in verdict.differences.values()] == means


def test_p_values_are_adjusted_for_all_endpoints() -> None:
    weak = difference(0.023)
    (alone,) = verdicts([endpoint("greater")], lambda *_: weak)
    among = verdicts([endpoint("greater") for _ in range(4)], lambda *_: weak)
    assert alone.conclusion == SHOWN and among[0].conclusion == NOT_SHOWN
    assert among[0].p_value == pytest.approx(4 * alone.p_value)


def test_endpoint_without_data_has_no_verdict() -> None:
    found = verdicts(
        [endpoint("greater", 2), endpoint("less")], lambda _, measure: None if measure == "m1" else difference(0.1)
    )
    assert [verdict.endpoint.claim for verdict in found] == ["less"]
