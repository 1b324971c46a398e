"""Tests of the authorship guard for any schedules: rollouts that follow them pass, all others stop the run."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import product
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tandem.guards import FALSE_ALARM, GuardError, _log_binomial, check_authorship
from tandem.replay import draws_of
from tandem.rollout import JUNIOR, SENIOR, Group
from tandem.schedule import BEGINS_WORD, Schedule
from tests.support.simulated_authors import WORDS, simulate

rates = st.floats(0, 1)
schedules = st.builds(
    Schedule,
    prob_senior=st.sampled_from([0.0, 1e-12, 0.01, 0.3, 0.5, 0.9, 0.999, 1.0]) | rates,
    max_gap_tokens=st.integers(1, 40),
    alternates=st.sampled_from([False, False, True]),
    boundary=st.sampled_from([0, BEGINS_WORD]),
)


@st.composite
def steps(draw: st.DrawFn, *, size: int = 6) -> list[Group]:
    """Draw the groups of a step, of one or more schedules."""
    boundary_rates = {SENIOR: draw(rates), JUNIOR: draw(rates)}
    end_rates = {SENIOR: draw(rates) ** 3, JUNIOR: draw(rates) ** 3}
    groups = []
    for schedule in draw(st.lists(schedules, min_size=1, max_size=3)):
        groups += simulate(
            schedule,
            boundary_rates,
            end_rates,
            seed=draw(st.integers(0, 2**31)),
            groups=draw(st.integers(1, size)),
            size=draw(st.integers(1, size)),
            tokens=draw(st.sampled_from([1, 2, 7, 40])),
            translated=draw(st.booleans()),
        )
    return groups


@settings(max_examples=200)
@given(steps())
def test_rollouts_that_follow_schedule_pass_guard(groups: list[Group]) -> None:
    check_authorship(groups, WORDS)


@settings(max_examples=100)
@given(steps(), st.data())
def test_constant_shifted_or_flipped_mask_stops_run(groups: list[Group], data: st.DataObject) -> None:
    rollout = data.draw(st.sampled_from([rollout for group in groups for rollout in group.rollouts]))
    mask = rollout.authorship
    changed = data.draw(st.sampled_from(["senior", "junior", "shifted", "flipped", "cut"]))
    rollout.authorship = {
        "senior": np.full_like(mask, SENIOR),
        "junior": np.full_like(mask, JUNIOR),
        "shifted": np.roll(mask, 1),
        "flipped": 1 - mask,
        "cut": mask[:-1],
    }[changed]
    assume(not np.array_equal(rollout.authorship, mask))
    with pytest.raises(GuardError, match=f"rollout {rollout.id}: its authorship mask"):
        check_authorship(groups, WORDS)


@settings(max_examples=100)
@given(steps())
def test_draws_that_actors_counted_replace_replay_of_all_but_sample(groups: list[Group]) -> None:
    for group in groups:
        for rollout in group.rollouts:
            rollout.draws = draws_of(rollout, group.schedule, WORDS)
    check_authorship(groups, WORDS)
    with patch("tandem.guards.draws_of", side_effect=draws_of) as replayed:
        check_authorship(groups, WORDS)
    assert replayed.call_count == len(groups)
    for group in groups:
        for rollout in group.rollouts:
            rollout.authorship = 1 - rollout.authorship
    with pytest.raises(GuardError, match="its authorship mask is not what the schedule implies"):
        check_authorship(groups, WORDS)


@settings(max_examples=50)
@given(steps())
def test_draws_counted_wrong_stop_run(groups: list[Group]) -> None:
    for rollout in groups[-1].rollouts:
        draws = draws_of(rollout, groups[-1].schedule, WORDS)
        assert draws is not None
        rollout.draws = draws._replace(tosses=draws.tosses + 1)
    with pytest.raises(GuardError, match="actor and driver follow different rules"):
        check_authorship(groups, WORDS)


@settings(max_examples=30)
@given(st.integers(0, 2**31), st.sampled_from([0.2, 0.5, 0.8]), st.sampled_from([-0.15, 0.15]))
def test_coin_with_another_probability_stops_run(seed: int, prob: float, off: float) -> None:
    rates, never = {SENIOR: 0.5, JUNIOR: 0.7}, {SENIOR: 0.0, JUNIOR: 0.0}
    groups = simulate(Schedule(prob + off), rates, never, seed=seed, groups=16, size=8, tokens=40)
    with pytest.raises(GuardError, match="mask is not what the schedule implies"):
        check_authorship([replace(group, schedule=Schedule(prob)) for group in groups], WORDS)


@settings(max_examples=15)
@given(st.integers(0, 2**31), st.sampled_from([0.2, 0.5, 0.8]), st.booleans())
def test_seeds_that_favor_author_stop_run(seed: int, prob: float, favor_senior: bool) -> None:
    """Every mask fits its seed, but the seeds are the quarter that favors one author most."""
    schedule, rates = Schedule(prob), {SENIOR: 0.5, JUNIOR: 0.7}
    (group,) = simulate(schedule, rates, {SENIOR: 0.0, JUNIOR: 0.0}, seed=seed, groups=1, size=512, tokens=40)
    check_authorship([group], WORDS)
    by_share = sorted(group.rollouts, key=lambda rollout: rollout.authorship.mean(), reverse=favor_senior)
    with pytest.raises(GuardError, match=rf"draws at schedule.prob_senior={prob:g}"):
        check_authorship([replace(group, rollouts=by_share[:128])], WORDS)


def test_selection_of_first_finished_groups_passes() -> None:
    """The senior ends every text at once and the junior never, so the senior won the draws of the first finished groups."""
    schedule = Schedule(0.5, 1)
    groups = simulate(schedule, {SENIOR: 0, JUNIOR: 0}, {SENIOR: 1, JUNIOR: 0}, seed=3, groups=1000, size=4, tokens=40)
    check_authorship(groups, WORDS)
    first = sorted(groups, key=lambda group: max(map(len, group.rollouts)))[:400]
    check_authorship(first, WORDS, chosen_from=len(groups))
    with pytest.raises(GuardError, match="draws at schedule.prob_senior=0.5"):
        check_authorship(first, WORDS)


@pytest.mark.parametrize("prob", [0.01, 0.3, 0.5, 0.9])
def test_false_alarm_rate_is_as_stated(prob: float) -> None:
    """Sum over all numbers of wins in a step whose texts end independently of the draws."""
    for draws in (1, 30, 1000):
        log_chances = [_log_binomial(prob, wins, draws) for wins in range(draws + 1)]
        assert math.fsum(map(math.exp, log_chances)) == pytest.approx(1)
        alarms = [chance for chance in log_chances if chance + math.log(draws + 1) < math.log(FALSE_ALARM)]
        assert math.fsum(map(math.exp, alarms)) <= FALSE_ALARM


@pytest.mark.parametrize("probs", [(0.3, 0.5), (0.01, 0.9, 0.97)])
def test_false_alarm_rate_holds_for_several_schedules(probs: tuple[float, ...]) -> None:
    """Sum over all numbers of wins at each probability."""
    draws = {2: 30, 3: 12}[len(probs)]
    log_chances = [[_log_binomial(prob, wins, draws) for wins in range(draws + 1)] for prob in probs]
    alpha = 1e-3  # so that few draws can raise an alarm
    together = [math.fsum(chances) for chances in product(*log_chances)]
    alarms = [chance for chance in together if chance + len(probs) * math.log(draws + 1) < math.log(alpha)]
    assert 0 < math.fsum(map(math.exp, alarms)) <= alpha
