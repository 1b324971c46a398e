"""Tests of the guards."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.guards import (
    GuardError,
    VerdictGuard,
    check_any_finished,
    check_authorship,
    check_canary,
    check_counted,
    check_finite_logprobs,
    check_logprob_gap,
    check_published,
    check_skipped,
    check_unchanged,
    check_verdicts,
    check_weight_version,
)
from tandem.metrics import senior_token_fraction
from tandem.replay import replay
from tandem.rollout import JUNIOR, SENIOR, Group, Rollout, Verdict
from tandem.schedule import Schedule, coin
from tests.support.builders import judged_group, scheduled_rollout
from tests.support.simulated_authors import WORDS as SIMULATED_WORDS
from tests.support.simulated_authors import simulate

WORD = Schedule(0.5, 32)
SOLO = Schedule(1.0)
WORDS = np.array([0, 0, 0, 1], np.uint8)
NO_WORDS = np.zeros(4, np.uint8)


def step(schedule: Schedule, *, rollouts: int = 64, tokens: int = 50, first_seed: int = 0) -> list[Group]:
    """Return one step's groups of eight rollouts that follow the schedule."""
    rng = np.random.default_rng(first_seed)
    seeds = range(first_seed, first_seed + rollouts)
    written = [scheduled_rollout(schedule, WORDS, seed, rng.integers(0, 4, tokens)) for seed in seeds]
    return [judged_group(written[i : i + 8], schedule=schedule) for i in range(0, rollouts, 8)]


def seeds_of(author: int, count: int) -> list[int]:
    """Return seeds whose first author is `author`."""
    return [seed for seed in range(10 * count) if WORD.pen(seed).author == author][:count]


def unbroken(seeds: list[int]) -> Group:
    """Return a group of rollouts of one turn each."""
    return judged_group([scheduled_rollout(WORD, NO_WORDS, seed, [0] * 20) for seed in seeds], schedule=WORD)


# Stragglers


def test_step_without_groups_stops_run() -> None:
    with pytest.raises(GuardError, match=r"rollout.straggler_deadline_s=2.5"):
        check_any_finished([], 2.5)
    check_any_finished(step(WORD)[:1], 2.5)


# Authorship


@pytest.mark.parametrize("prob", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_rollouts_that_follow_schedule_pass(prob: float) -> None:
    for first_seed in range(0, 640, 64):
        schedule = Schedule(prob, 32)
        check_authorship(step(schedule, first_seed=first_seed), WORDS)


@pytest.mark.parametrize("entries", [0, 49, 51])
def test_mask_of_another_length_than_text_stops_run(entries: int) -> None:
    groups = step(WORD)
    groups[3].rollouts[2].authorship = np.ones(entries, np.int8)
    with pytest.raises(GuardError, match=f"mask has {entries} entries for 50 tokens; .* would train as plain GRPO"):
        check_authorship(groups, WORDS)


def test_empty_rollout_stops_run() -> None:
    groups = [judged_group([scheduled_rollout(WORD, WORDS, 0, [])])]
    with pytest.raises(GuardError, match="0 entries for 0 tokens"):
        check_authorship(groups, WORDS)


@pytest.mark.parametrize("author", [SENIOR, JUNIOR])
def test_mask_of_one_author_stops_run(author: int) -> None:
    groups = step(WORD)
    for group in groups:
        for rollout in group.rollouts:
            rollout.authorship[:] = author
    with pytest.raises(GuardError, match="not what the schedule implies"):
        check_authorship(groups, WORDS)


@pytest.mark.parametrize("author", [SENIOR, JUNIOR])
def test_single_author_stops_run_only_if_improbable(author: int) -> None:
    wins = 40 if author == SENIOR else 0
    check_authorship([unbroken(seeds_of(author, 2))], NO_WORDS)  # happens in half of all short runs
    check_authorship([unbroken(seeds_of(author, 16))], NO_WORDS)
    with pytest.raises(GuardError, match=f"the senior won {wins} of 40 draws at schedule.prob_senior=0.5 in this step"):
        check_authorship([unbroken(seeds_of(author, 40))], NO_WORDS)


@pytest.mark.parametrize("prob", [0.97, 0.99, 0.999])
def test_last_steps_of_annealing_to_senior_pass(prob: float) -> None:
    schedule, rng = Schedule(prob, 32), np.random.default_rng(0)
    seeds = [s for s in range(4000) if replay(schedule, WORDS, s, tokens := rng.integers(0, 4, 20)).authorship.all()][:32]
    alone = judged_group([scheduled_rollout(schedule, NO_WORDS, seed, [0] * 20) for seed in seeds], schedule=schedule)
    assert all(rollout.authorship.all() for rollout in alone.rollouts), tokens
    check_authorship([alone], NO_WORDS)


def test_rollouts_with_equal_seeds_stop_run() -> None:
    tokens = np.random.default_rng(0).integers(0, 4, (64, 50))
    groups = [judged_group([scheduled_rollout(WORD, WORDS, 7, row) for row in tokens])]
    with pytest.raises(GuardError, match="do the rollouts have different seeds"):
        check_authorship(groups, WORDS)


def test_single_token_by_wrong_author_stops_run() -> None:
    groups = step(WORD)
    rollout = groups[5].rollouts[1]
    rollout.authorship[-1] ^= 1
    with pytest.raises(GuardError, match=f"rollout {rollout.id}: its authorship mask is not what the schedule implies"):
        check_authorship(groups, WORDS)


def test_mask_of_another_schedule_stops_run() -> None:
    with pytest.raises(GuardError, match="not what the schedule implies"):
        check_authorship([replace(group, schedule=WORD._replace(max_gap_tokens=2)) for group in step(WORD)], WORDS)


@pytest.mark.parametrize(("seniors", "juniors"), [(58, 2), (2, 58)])
def test_improbable_share_of_draws_stops_run(seniors: int, juniors: int) -> None:
    groups = [unbroken(seeds_of(SENIOR, seniors)), unbroken(seeds_of(JUNIOR, juniors))]
    with pytest.raises(GuardError, match=f"the senior won {seniors} of 60 draws at .*prob_senior=0.5"):
        check_authorship(groups, NO_WORDS)


def test_translated_rollouts_are_checked_at_junior_words() -> None:
    """The junior's words are three tokens long; the senior's turns end at its own boundaries."""
    rollouts = []
    for seed in range(8):
        pen, mask, breaks = WORD.pen(seed), [], []
        for token in [3, 0, 0] * 10:
            mask.append(pen.author)
            breaks.append(pen.author == JUNIOR and len(mask) % 3 == 0)
            pen = pen.after(WORDS[token], breaks[-1] if mask[-1] == JUNIOR else None)
        rollout = scheduled_rollout(WORD, WORDS, seed, [3, 0, 0] * 10)
        rollout.authorship, rollout.breaks = np.array(mask, np.int8), np.array(breaks)
        rollouts.append(rollout)
    check_authorship([judged_group(rollouts)], WORDS)
    for rollout in rollouts:
        rollout.breaks = None
    with pytest.raises(GuardError, match="not what the schedule implies"):
        check_authorship([judged_group(rollouts)], WORDS)


@pytest.mark.parametrize(("seniors", "juniors"), [(26, 14), (14, 26)])
def test_probable_share_of_draws_passes(seniors: int, juniors: int) -> None:
    groups = [unbroken(seeds_of(SENIOR, seniors)), unbroken(seeds_of(JUNIOR, juniors))]
    check_authorship(groups, NO_WORDS)


def test_authors_with_words_of_different_length_pass() -> None:
    """The senior's words have half as many tokens as the junior's, so it writes a third of all tokens."""
    groups = simulate(WORD, {SENIOR: 0.8, JUNIOR: 0.4}, {SENIOR: 0.0, JUNIOR: 0.0}, seed=1, groups=16, size=8, tokens=80)
    assert senior_token_fraction(groups) == pytest.approx(1 / 3, abs=0.03)
    check_authorship(groups, SIMULATED_WORDS)


def test_groups_of_several_schedules_are_checked_against_their_own() -> None:
    schedules = [Schedule(0.2, 3), Schedule(0.8), Schedule(0.5, alternates=True), Schedule(0.0, 1, boundary=0), SOLO]
    groups = [group for schedule in schedules for group in step(schedule)]
    check_authorship(groups, WORDS)
    groups[0].schedule = schedules[1]
    with pytest.raises(GuardError, match=f"rollout {groups[0].rollouts[0].id}: .* not what the schedule implies"):
        check_authorship(groups, WORDS)


def test_evidence_of_several_schedules_adds_up() -> None:
    probs = [0.4, 0.45, 0.5, 0.55]
    groups = [replace(unbroken(seeds_of(SENIOR, 20)), schedule=WORD._replace(prob_senior=prob)) for prob in probs]
    for group in groups:
        group.rollouts = [rollout for rollout in group.rollouts if coin(rollout.seed, 0) < Schedule(min(probs)).threshold]
        check_authorship([group], NO_WORDS)
    won = ", ".join(f"{len(group.rollouts)} of {len(group.rollouts)} draws at schedule.prob_senior=0.*" for group in groups)
    with pytest.raises(GuardError, match=f"the senior won {won} in this step"):
        check_authorship(groups, NO_WORDS)


def test_junior_token_under_solo_stops_run() -> None:
    groups = step(SOLO)
    check_authorship(groups, WORDS)
    groups[0].rollouts[0].authorship[7] = JUNIOR
    with pytest.raises(GuardError, match="not what the schedule implies"):
        check_authorship(groups, WORDS)


# Weights


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
    groups = step(WORD)
    check_finite_logprobs(groups)
    rollout = groups[3].rollouts[1]
    junior, senior = r"junior 0 gave token .*: its weights \(junior\[0\]\)", "senior gave token .*version 0, the base model's,"
    for author, name in ((JUNIOR, junior), (SENIOR, senior)):
        token = np.flatnonzero(rollout.authorship == author)[-1]
        rollout.logprobs[token] = bad
        with pytest.raises(GuardError, match=f"rollout {rollout.id}: the engine of the {name} hold NaN"):
            check_finite_logprobs([judged_group([rollout])])
        rollout.logprobs[token] = -1.0


def test_step_without_senior_tokens_warns() -> None:
    assert check_counted({"policy/clip_fraction": 0.0, "mismatch/masked_fraction": 0.5}) is None
    assert "the junior wrote all of it" in str(check_counted({"loss/policy": 0.0}))
    assert "algo.mismatch masks them all" in str(check_counted({"loss/policy": 0.0, "mismatch/masked_fraction": 1.0}))


def test_repeated_nonfinite_gradients_stop_run() -> None:
    check_skipped(7, 8)
    check_skipped(100, 0)
    with pytest.raises(GuardError, match=r"the last 8 optimizer steps .*guard.max_skipped_updates=8"):
        check_skipped(8, 8)


# Verdicts


def judged(*verdicts: Verdict) -> list[Group]:
    rollouts = [scheduled_rollout(WORD, WORDS, seed, [0, 3, 0]) for seed in range(len(verdicts))]
    return [judged_group(rollouts[:2], list(verdicts[:2])), judged_group(rollouts[2:], list(verdicts[2:]))]


def of_problems(first: int, count: int, *verdicts: Verdict) -> list[Group]:
    """Return `count` groups, of different problems, whose answers have `verdicts`."""
    groups = []
    for index in range(first, first + count):
        group = judged_group([scheduled_rollout(WORD, WORDS, 0, [0, 3, 0]) for _ in verdicts], list(verdicts))
        problem = replace(group.prompt.problem, id=f"problem {index}")
        groups.append(replace(group, prompt=replace(group.prompt, problem=problem)))
    return groups


@pytest.mark.parametrize("broken", [(Verdict.ERROR,) * 4, (Verdict.TIMEOUT,) * 4, (Verdict.ERROR, Verdict.TIMEOUT) * 2])
@pytest.mark.parametrize("at_a_time", [1, 3, 16])
def test_verifier_that_judges_nothing_stops_run(broken: tuple[Verdict, ...], at_a_time: int) -> None:
    guard, steps = VerdictGuard(), iter(range(0, 99, at_a_time))
    for _ in range((VerdictGuard.PROBLEMS - 1) // at_a_time):
        guard.check(of_problems(next(steps), at_a_time, *broken))
    with pytest.raises(GuardError, match=r"none of the answers to the last \d+ problems could be judged .*: the verifier is"):
        guard.check(of_problems(next(steps), at_a_time, *broken))


def test_few_problems_without_a_verdict_do_not_stop_run() -> None:
    guard = VerdictGuard()
    for _ in range(50):  # one problem that is too hard for the verifier, again and again
        guard.check(of_problems(0, 1, *[Verdict.TIMEOUT] * 64))
    guard.check(of_problems(1, VerdictGuard.PROBLEMS - 2, Verdict.TIMEOUT, Verdict.ERROR))
    guard.check(of_problems(20, 1, Verdict.TIMEOUT, Verdict.WRONG))
    guard.check(of_problems(30, VerdictGuard.PROBLEMS - 1, Verdict.ERROR))


def test_step_without_a_verdict_warns() -> None:
    warning = check_verdicts(judged(*[Verdict.TIMEOUT] * 4))
    assert warning is not None and "none of this step's 4 answers could be judged" in warning


def test_step_without_correct_answer_warns() -> None:
    warning = check_verdicts(judged(Verdict.WRONG, Verdict.UNPARSABLE, Verdict.TIMEOUT, Verdict.ERROR))
    assert warning is not None and "none of this step's 4 answers is correct" in warning


def test_step_with_correct_answer_does_not_warn() -> None:
    assert check_verdicts(judged(Verdict.CORRECT, Verdict.TIMEOUT, Verdict.ERROR, Verdict.WRONG)) is None


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
