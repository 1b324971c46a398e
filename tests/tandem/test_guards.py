"""Tests of the guards of a step's rollouts and of its updates."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tandem.guards import GuardError, check_any_finished, check_authorship, check_counted, check_skipped
from tandem.metrics import senior_token_fraction
from tandem.replay import replay
from tandem.rollout import JUNIOR, SENIOR, Group
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


# Updates


def test_step_without_senior_tokens_warns() -> None:
    assert check_counted({"policy/clip_fraction": 0.0, "mismatch/masked_fraction": 0.5}) is None
    assert "the junior wrote all of it" in str(check_counted({"loss/policy": 0.0}))
    assert "algo.mismatch masks them all" in str(check_counted({"loss/policy": 0.0, "mismatch/masked_fraction": 1.0}))


def test_repeated_nonfinite_gradients_stop_run() -> None:
    check_skipped(7, 8)
    check_skipped(100, 0)
    with pytest.raises(GuardError, match=r"the last 8 optimizer steps .*guard.max_skipped_updates=8"):
        check_skipped(8, 8)
