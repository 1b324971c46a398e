"""Tests of the figures of bench.speculation, on written texts that are given."""

from __future__ import annotations

import pytest

from bench.speculation import Written, figures

TEXTS = [[1, 2, 3], [4, 5]]


@pytest.mark.parametrize("equal", [True, False])
def test_figures_name_arm_and_junior(equal: bool) -> None:
    plain = Written(TEXTS, [100.0, 90.0, 110.0])
    large = Written(TEXTS, [80.0, 70.0, 75.0], acceptance=0.9876)
    small = Written(TEXTS if equal else [[1, 2, 3], [4, 6]], [130.0, 120.0, 125.0], acceptance=0.9)
    assert figures({"tandem": [plain, large, small]}, ["", "_small"]) == {
        "tokens_per_s_tandem": 100.0,
        "acceptance_tandem": 0.988,
        "drafted_tokens_per_s_tandem": 75.0,
        "speedup_tandem": 0.75,
        "acceptance_tandem_small": 0.9,
        "drafted_tokens_per_s_tandem_small": 125.0,
        "speedup_tandem_small": 1.25,
        "greedy_equal": int(equal),
    }
