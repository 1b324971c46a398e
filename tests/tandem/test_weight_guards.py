"""Tests of the guards of the engines' weights: their versions, log-probabilities and canary."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.guards import (
    GuardError,
    check_canary,
    check_finite_logprobs,
    check_logprob_gap,
    check_published,
    check_unchanged,
    check_weight_version,
)
from tandem.rollout import JUNIOR, SENIOR, Rollout
from tandem.schedule import Schedule
from tests.support.builders import judged_group, scheduled_rollout

WORD = Schedule(0.5, 32)
WORDS = np.array([0, 0, 0, 1], np.uint8)


def test_senior_tokens_of_another_version_stop_run() -> None:
    groups = [judged_group([scheduled_rollout(WORD, WORDS, seed, [3, 0, 3, 0] * 8, version=4) for seed in range(8)])]
    check_weight_version(groups, expected=4)
    with pytest.raises(GuardError, match=r"sampled from weight versions \[4\], not from 5"):
        check_weight_version(groups, expected=5)
    rollout = next(r for r in groups[0].rollouts if r.handoffs)
    rollout.weight_versions[np.flatnonzero(rollout.authorship == SENIOR)[-1]] = 3
    with pytest.raises(GuardError, match=rf"rollout {rollout.id} was sampled from weight versions \[3, 4\], not from 4"):
        check_weight_version(groups, expected=4)


def test_staleness_allows_older_versions_only() -> None:
    groups = [judged_group([scheduled_rollout(WORD, WORDS, seed, [3, 0, 3, 0] * 8, version=4) for seed in range(8)])]
    for expected in (4, 5, 6):
        check_weight_version(groups, expected, max_staleness=2)
    for expected in (3, 7):
        wanted = rf"not from {expected - 2} to {expected}"
        with pytest.raises(GuardError, match=rf"sampled from weight versions \[4\], {wanted}"):
            check_weight_version(groups, expected, max_staleness=2)


def test_rollout_without_senior_tokens_has_no_version() -> None:
    alone: Rollout = scheduled_rollout(Schedule(0.0), WORDS, 1, [0, 3, 0])
    check_weight_version([judged_group([alone])], expected=9)


def test_engine_that_reports_another_version_stops_run() -> None:
    check_published(3, [3, 3])
    with pytest.raises(GuardError, match="rollout actor 1 reports weight version 2 after 3 was published"):
        check_published(3, [3, 2])


def test_changed_junior_weights_stop_run() -> None:
    check_unchanged([["a", "c"], ["a", "c"]], [["a", "c"], ["a", "c"]])
    check_unchanged([[]], [[]])
    with pytest.raises(GuardError, match="a junior is frozen, but its weights changed"):
        check_unchanged([["a", "c"], ["a", "c"]], [["a", "c"], ["a", "d"]])


@pytest.mark.parametrize("gap", [0.0, 0.1])
def test_small_gap_passes(gap: float) -> None:
    check_logprob_gap(gap, 0.1)


def test_gap_between_engine_and_learner_stops_run() -> None:
    with pytest.raises(GuardError, match="logprob/gap_mean=0.11 exceeds guard.max_logprob_gap=0.1: the engines do not sample"):
        check_logprob_gap(0.11, 0.1)


def test_gap_of_stale_rollouts_stops_run() -> None:
    check_logprob_gap(0.4, 0.5, stale=True)
    with pytest.raises(
        GuardError, match=r"logprob/stale_gap_mean=0.6 exceeds guard.max_stale_logprob_gap=0.5: .*lower learner.lr"
    ):
        check_logprob_gap(0.6, 0.5, stale=True)


@pytest.mark.parametrize("gap", [math.inf, math.nan])
def test_nan_of_learner_is_attributed_to_learner(gap: float) -> None:
    with pytest.raises(GuardError, match=f"logprob/gap_mean={gap:g}: the learner's log-probabilities are NaN or infinite"):
        check_logprob_gap(gap, 0.1)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_nan_of_engine_is_attributed_to_engine(bad: float) -> None:
    rollouts = [scheduled_rollout(WORD, WORDS, seed, [3, 0, 3, 0] * 8) for seed in range(8)]
    groups = [judged_group(rollouts[:4]), judged_group(rollouts[4:])]
    check_finite_logprobs(groups)
    rollout = next(rollout for rollout in groups[1].rollouts if rollout.handoffs)
    junior, senior = r"junior 0 gave token .*: its weights \(junior\[0\]\)", "senior gave token .*version 0, the base model's,"
    for author, name in ((JUNIOR, junior), (SENIOR, senior)):
        token = np.flatnonzero(rollout.authorship == author)[-1]
        rollout.logprobs[token] = bad
        with pytest.raises(GuardError, match=f"rollout {rollout.id}: the engine of the {name} hold NaN"):
            check_finite_logprobs(groups)
        rollout.logprobs[token] = -1.0


@pytest.mark.parametrize(
    ("gap", "before", "change"),
    [(0.4, None, 0.1), (0.0, 0.0, 0.0), (1e-4, 1e-6, 1e-5), (0.02, 0.01, 0.001), (0.03, 0.02, 1.0), (0.2, 0.001, 0.9)],
)
def test_rounding_of_right_engine_passes_canary(gap: float, before: float | None, change: float) -> None:
    check_canary(gap, 0.5, before, change)


@given(before=st.floats(0, 0.1), change=st.floats(0, 0.2), share=st.floats(0, 1))
def test_canary_finds_engine_that_lacks_half_of_a_visible_update(before: float, change: float, share: float) -> None:
    gap = before + share * change
    if share >= 0.5 and change > max(2e-3, 4.1 * before):
        with pytest.raises(GuardError, match=r"an engine did not load the update, or only a part of it; resume the run"):
            check_canary(gap, 0.5, before, change)
    if share <= 0.25:
        check_canary(gap, 0.5, before, change)


@pytest.mark.parametrize("gap", [0.51, math.inf, math.nan])
def test_canary_above_its_limit_stops_run(gap: float) -> None:
    with pytest.raises(GuardError, match=rf"weights/canary_gap={gap:.4g} exceeds guard.max_canary_gap=0.5: .* raise the limit"):
        check_canary(gap, 0.5, None, 0.0)
