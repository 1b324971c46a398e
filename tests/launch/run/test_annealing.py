"""Tests of annealed schedules with staleness and with dynamic sampling."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tandem.authors import load_authors
from tandem.config.rollout import ScheduleConfig
from tandem.config.schema import Config
from tandem.records.saved_rollouts import load_step
from tandem.records.step_folders import step_folders
from tandem.replay import replay
from tandem.schedule import annealed_prob_senior
from tests.support.lockstep_runs import rows, run

ANNEALED = ScheduleConfig(prob_senior=0.3, prob_senior_end=0.9, anneal="linear")


def check_schedules(settings: Config) -> list[dict[str, float]]:
    """Run `settings`, check that each step's groups followed that step's schedule, and return the metrics by step."""
    folder, boundaries = run(settings), load_authors(settings).boundaries
    metrics = rows(folder)[1:]
    for step, saved in step_folders(folder / "rollouts").items():
        prob = annealed_prob_senior(ANNEALED, step, settings.steps)
        assert metrics[step - 1]["tandem/prob_senior"] == pytest.approx(prob)
        for group in load_step(saved):
            assert group.schedule.prob_senior == prob
            for rollout in group.rollouts:
                implied = replay(group.schedule, boundaries, rollout.seed, rollout.token_ids).authorship
                np.testing.assert_array_equal(rollout.authorship, implied)
    assert len(metrics) == settings.steps == step
    return metrics


@pytest.mark.usefixtures("warm_learner")
def test_groups_written_ahead_follow_schedule_of_consuming_step(lockstep_settings: Config) -> None:
    ahead = replace(lockstep_settings.rollout, max_staleness=1)
    metrics = check_schedules(replace(lockstep_settings, name="annealed ahead", schedule=ANNEALED, rollout=ahead))
    assert any(row["rollout/staleness_mean"] > 0 for row in metrics)
    overlap = [row["rollout/overlap_fraction"] for row in metrics]
    assert min(overlap) >= 0 and 0 < max(overlap) <= 1


@pytest.mark.usefixtures("warm_learner")
def test_groups_of_dynamic_sampling_follow_schedule_of_their_step(lockstep_settings: Config) -> None:
    refilling = replace(lockstep_settings.algo, dynamic_sampling_rounds=2)
    metrics = check_schedules(replace(lockstep_settings, name="annealed refilled", schedule=ANNEALED, algo=refilling))
    assert any(row["rollout/groups_refilled"] > 0 for row in metrics)
