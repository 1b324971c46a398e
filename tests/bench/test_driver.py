"""Tests of bench.driver: the groups pass the run's own checks, and all of them reach the ranks."""

from __future__ import annotations

from pathlib import Path

import pytest

from actors.group_task import GroupTask
from bench import driver
from bench.driver import DriverCost, StepClock, figures, measure, plan, size, step_config
from bench.simulated import random_rollout
from tandem.config.rollout import SamplingConfig
from tandem.rollout import Group, Problem, Prompt, Verdict
from tandem.schedule import Schedule
from tandem.verify.judgement import plain_judgement


def test_plan_has_every_token(tmp_path: Path) -> None:
    prompt = Prompt(Problem("0", "?", "1"), tuple(range(5)))
    task = GroupTask(prompt, ("a", "b", "c"), (7, 8, 9), Schedule(), SamplingConfig(max_tokens=60))
    rollouts = [random_rollout(task, index) for index in range(3)]
    group = Group(prompt, rollouts, Schedule())
    group.judgements = list(map(plain_judgement, (Verdict.CORRECT, Verdict.WRONG, Verdict.WRONG)))
    clock = StepClock()
    plans = plan([group], step_config(60), 2, tmp_path / "rollouts", clock)
    samples = [sample for part in plans for mini_batch in part for micro_batch in mini_batch for sample in micro_batch]
    assert sum(len(sample.senior) for sample in samples) == sum(map(len, rollouts))
    assert all(15 <= len(rollout) <= 60 for rollout in rollouts)
    assert list(clock.cpu_s) == list(clock.wall_s) == ["check", "metrics", "save", "plan"]
    tokens = sum(map(len, rollouts))
    assert size([group]) > 17 * tokens, "authorship, token, log-probability, version, text"
    assert size(plans) > 17 * tokens + 4 * len(prompt.token_ids) * len(rollouts)


def test_step_goes_through_pool_judge_and_ranks(ray_session: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "WRITING_S", 0.01)
    cost = measure(2 * driver.GROUP_SIZE, 60, replicas=3, ranks=3)
    assert 15 * 32 <= cost.tokens <= 60 * 32
    assert list(cost.cpu_s) == ["write", "judge", "check", "metrics", "save", "plan", "send"]
    assert min(cost.received, cost.sent) > 17 * cost.tokens and cost.judged > 4 * cost.tokens
    assert cost.after_writing_s == sum(cost.wall_s.values()) - cost.wall_s["write"]


def test_figures_name_each_length_and_longest_is_the_step() -> None:
    costs = {
        tokens: DriverCost(10, {"save": 0.5, "plan": plan_s}, {"write": 9.0, "plan": 3.0}, 10**6, 0, 2 * 10**6, 1.0, 0.5)
        for tokens, plan_s in ((3_000, 0.5), (32_000, 1.5))
    }
    found = figures(costs)
    assert found["driver_s_per_step"] == 1.5 == found["driver_s_per_step_32k"]
    assert (found["received_mb_3k"], found["sent_mb_3k"], found["plan_s_3k"], found["after_writing_s_3k"]) == (1, 2, 0.5, 3.0)
