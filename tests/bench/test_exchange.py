"""The figures of bench.exchange, without engines."""

from __future__ import annotations

import pytest

from bench.engines import WritingTime
from bench.exchange import HEADLINE, POINTS, ExchangePoint, cost, figures

pytestmark = pytest.mark.seconds  # it imports vLLM

SHORT = ExchangePoint(16, 256, 3)


def test_cost_is_median_cpu_time_per_token() -> None:
    runs = [WritingTime(2, 1000, 98, seconds, 0.5, 0.3, 0.2) for seconds in (0.1, 0.3, 0.2)]
    found = cost(runs)
    assert found.tokens_per_s == pytest.approx(5000)
    assert [found.driver_us, found.engines_us] == pytest.approx([40, 160])
    assert found.tokens_per_turn == 10
    assert found.tokens_per_cpu_s == pytest.approx(5000)


def test_figures_compare_tandem_with_solo_at_each_point() -> None:
    tandem, solo = (cost([WritingTime(2, 1000, handoffs, 0.2, 0.5, busy, 0.25)]) for handoffs, busy in ((98, 0.75), (0, 0.0)))
    found = figures({HEADLINE: {"tandem": tandem, "solo": solo}, SHORT: {"tandem": solo, "solo": solo}})
    assert (found["exchange_over_solo"], found["exchange_over_solo_cpu"]) == (1.0, 0.5)
    assert (found["driver_us_per_token"], found["engines_us_per_token"], found["solo_engines_us_per_token"]) == (50, 250, 100)
    assert found[f"exchange_over_solo_cpu_{SHORT.name}"] == 1.0


def test_points_vary_one_setting_at_a_time_and_have_names_of_their_own() -> None:
    assert len({point.name for point in POINTS}) == len(POINTS)
    assert {point.turn for point in POINTS} == {1, 3, 10, 50}
    assert {point.rollouts for point in POINTS} == {16, 64, 256}
    assert {point.tokens for point in POINTS} == {256, 2_048, 16_384}
