"""How often parts of a run may die."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.guards import GuardError
from tandem.restarts import HOUR_S, RestartBudget


@given(st.integers(0, 5), st.lists(st.floats(0, 2 * HOUR_S), max_size=30))
def test_no_hour_has_more_restarts_than_allowed_and_none_is_refused_before(per_hour: int, pauses: list[float]) -> None:
    now, allowed, said = 0.0, list[float](), list[str]()
    budget = RestartBudget(per_hour, said.append, clock=lambda: now)
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


def test_the_stop_names_what_died_how_often_and_why() -> None:
    budget = RestartBudget(3)
    for part in ("learner", "rollout actor 0", "learner"):
        budget.spend(part, "it died")
    with pytest.raises(GuardError, match=r"4 losses within an hour \(learner 2 times, reward actor 1 times, rollout actor 0 1"):
        budget.spend("reward actor", ValueError("Traceback:\n  in a line\nno memory"))


def test_the_console_is_told_the_last_line_of_a_traceback() -> None:
    said: list[str] = []
    RestartBudget(2, said.append).spend("learner", ValueError("Traceback:\n  in a line\nno memory\n"))
    assert said == ["LOST: learner is started again (restart 1 of 2 within an hour): no memory"]
