"""Tests of the guards of verdicts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tandem.guards import GuardError, VerdictGuard, check_verdicts
from tandem.rollout import Group, Verdict
from tandem.schedule import Schedule
from tests.support.builders import judged_group, scheduled_rollout

WORD = Schedule(0.5, 32)
WORDS = np.array([0, 0, 0, 1], np.uint8)


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
