"""Tests of the limit on restarts."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.guards import GuardError
from tandem.runtime import restarts
from tandem.runtime.restarts import HOUR_S, RestartBudget, in_short


@given(st.integers(0, 5), st.lists(st.floats(0, 2 * HOUR_S), max_size=30))
def test_restarts_within_hour_are_limited_exactly(per_hour: int, pauses: list[float]) -> None:
    now, allowed, said = 0.0, list[float](), list[str]()
    budget = RestartBudget(per_hour, said.append)
    budget.worked("learner")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(restarts, "time", SimpleNamespace(monotonic=lambda: now))
        for pause in pauses:
            now += pause
            recent = [moment for moment in allowed if moment > now - HOUR_S]
            if len(recent) < per_hour:
                budget.spend("learner", "it died")
                allowed.append(now)
            else:
                with pytest.raises(GuardError, match=f"max_restarts_per_hour={per_hour}"):
                    budget.spend("learner", "it died")
    assert budget.total == len(said) == len(allowed)


def test_error_names_failed_parts_counts_and_reasons() -> None:
    budget = RestartBudget(3)
    budget.worked("learner")
    for part in ("learner", "rollout actor 0", "learner"):
        budget.spend(part, "it died")
    with pytest.raises(
        GuardError, match=r"4 failures within an hour \(learner 2 times, reward actor 1 times, rollout actor 0 1"
    ):
        budget.spend("reward actor", ValueError("Traceback:\n  in a line\nno memory"))


def test_console_shows_last_line_of_traceback() -> None:
    said: list[str] = []
    RestartBudget(2, said.append).spend("learner", ValueError("Traceback:\n  in a line\nno memory\n"))
    assert said == ["RESTART: learner failed and is started again (restart 1 of 2 within an hour): no memory"]


OUT_OF_MEMORY = (
    "Task was killed due to the node running low on memory.\nMemory on the node was 23.9GB / 24.0GB.\n"
    "Refer to the documentation on how to address the out of memory issue: https://docs.ray.io"
)
NEVER_STARTED = "The actor died unexpectedly.\n\tactor_id: a1\nThe node has no GPU.\nThe actor never ran - it was cancelled."


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (OUT_OF_MEMORY, "Task was killed due to the node running low on memory."),
        (
            f"learner rank 0 of 1 failed in 'update': {OUT_OF_MEMORY}",
            "learner rank 0 of 1 failed in 'update': Task was",
        ),
        (NEVER_STARTED, "The node has no GPU."),
        ("The actor never ran", "The actor never ran"),
    ],
)
def test_reason_is_shown_without_advice_of_ray(said: str, shown: str) -> None:
    assert in_short(said).startswith(shown)


PARTS, REASONS = ["learner", "rollout actor 0", "rollout actor 1"], ["no memory", "killed by signal 9"]
Happening = tuple[str, str | None]
"""A part and the reason of its failure; None if it does some work instead."""


@given(st.lists(st.tuples(st.sampled_from(PARTS), st.sampled_from([*REASONS, None])), max_size=30))
def test_two_equal_deaths_before_any_work_end_run(
    happenings: list[Happening],
) -> None:
    said, worked, died = list[str](), set[str](), set[Happening]()
    budget = RestartBudget(1000, said.append)
    for number, (part, reason) in enumerate(happenings):
        if reason is None:
            budget.worked(part)
            worked.add(part)
        elif part not in worked and (part, reason) in died:
            with pytest.raises(GuardError, match=f"{part} died twice in the same way before .*: rollout 7/{number}: {reason}"):
                budget.spend(part, f"rollout 7/{number}: {reason}")
            return
        else:
            budget.spend(part, f"rollout 7/{number}: {reason}")
            died.add((part, reason))
            assert part in said[-1] and reason in said[-1]


def test_restarts_are_printed_without_console(capsys: pytest.CaptureFixture[str]) -> None:
    RestartBudget(1).spend("learner", "no memory")
    assert "RESTART: learner failed and is started again" in capsys.readouterr().err
