"""Tests of the terms of the reward."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.config.reward import RewardConfig
from tandem.metrics import rollout_metrics
from tandem.rewards import assign_rewards, overlong_punishment
from tandem.rollout import Group
from tandem.schedule import Schedule
from tandem.verify.judgement import Judgement, Verdict, plain_judgement
from tests.support.builders import judged_group, scheduled_rollout

MAX_TOKENS = 30
JUDGEMENTS = [*map(plain_judgement, Verdict), Judgement(Verdict.WRONG, "7", score=0.25)]


def judged(*judgements: Judgement) -> Group:
    """Return a group whose rollouts have 5, 10, 15, ... tokens."""
    rollouts = [
        scheduled_rollout(Schedule(), np.ones(8, np.uint8), seed, [0] * 5 * (seed + 1)) for seed in range(len(judgements))
    ]
    group = judged_group(rollouts)
    group.judgements = list(judgements)
    return group


@given(st.integers(2, 200), st.data())
def test_overlong_penalty_equals_dapo(max_tokens: int, data: st.DataObject) -> None:
    buffer = data.draw(st.integers(1, max_tokens))
    lengths = np.arange(1, max_tokens + 1)
    for length, found in zip(lengths.tolist(), overlong_punishment(lengths, max_tokens, buffer), strict=True):
        free = max_tokens - buffer
        expected = 0 if length <= free else (free - length) / buffer if length <= max_tokens else -1
        assert found == pytest.approx(expected)


def test_by_default_reward_is_verifiers_score() -> None:
    group = judged(*JUDGEMENTS)
    assign_rewards([group], RewardConfig(), MAX_TOKENS)
    assert group.rewards.tolist() == [1, 0, 0, 0, 0, 0.25]
    assert group.rewards.dtype == np.float32


def test_reward_is_sum_of_logged_terms() -> None:
    groups = [judged(*JUDGEMENTS), judged(*JUDGEMENTS[::-1])]
    assign_rewards(groups, RewardConfig(correct=2.0, format=0.5, overlong_buffer_tokens=20, overlong_penalty=4.0), MAX_TOKENS)
    first = groups[0].reward_terms
    assert first["correct"].tolist() == [2, 0, 0, 0, 0, 0.5]
    assert first["format"].tolist() == [0.5, 0.5, 0, 0, 0, 0.5]
    np.testing.assert_allclose(first["overlong"], [0, 0, -1, -2, -3, -4], rtol=1e-6)
    for group in groups:
        np.testing.assert_allclose(group.rewards, sum(group.reward_terms.values()))
    metrics = rollout_metrics(groups)
    means = {name: metrics[f"reward/terms/{name}"] for name in first}
    assert means == pytest.approx({"correct": 2.5 / 6, "format": 0.25, "overlong": -10 / 6})
    assert metrics["reward/mean"] == pytest.approx(sum(means.values()))
    assert metrics["reward/correct"] == pytest.approx(1 / 6)
