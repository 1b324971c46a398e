"""Tests of bench.driver: the groups pass the run's own checks, and all of them reach the ranks."""

from __future__ import annotations

import pickle

from bench import driver
from bench.driver import DriverCost, boundaries, driver_step, figures, packed, written


def test_step_receives_and_sends_every_token() -> None:
    table = boundaries()
    groups = list(written(2 * driver.GROUP_SIZE, 60, table))
    messages = [packed(group) for group in groups]
    head, arrays = messages[0]
    assert pickle.loads(head, buffers=arrays).prompt == groups[0].prompt
    clock, tokens, sent = driver_step(messages, table, 60, ranks=3)
    rollouts = [rollout for group in groups for rollout in group.rollouts]
    assert tokens == sum(map(len, rollouts)) and all(15 <= len(rollout) <= 60 for rollout in rollouts)
    assert sum(driver.size(message) for message in messages) > 13 * tokens, "authorship, token, log-probability, version"
    assert sent > 17 * tokens + 4 * driver.PROMPT_TOKENS * len(rollouts)
    assert list(clock.seconds) == ["receive", "check", "metrics", "plan", "send"]


def test_figures_name_each_length_and_longest_is_the_step() -> None:
    costs = {3_000: DriverCost(10, {"plan": 0.5}, 10**6, 2 * 10**6, 0.1), 32_000: DriverCost(10, {"plan": 2.0}, 1, 1, 1.0)}
    found = figures(costs)
    assert found["driver_s_per_step"] == 2.0 == found["driver_s_per_step_32k"]
    assert (found["received_mb_3k"], found["sent_mb_3k"], found["plan_s_3k"]) == (1, 2, 0.5)
