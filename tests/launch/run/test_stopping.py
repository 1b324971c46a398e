"""Tests of the early end of a run."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launch.run.stopping import stop_reason
from tandem.config.run import StopConfig
from tandem.config.schema import ConfigError

SETTINGS = StopConfig(metric="solo/accuracy", patience=2)
VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=12)


def rows(values: list[float], every: int = 1) -> list[dict[str, float]]:
    """Return the rows of a run in which every `every`-th step has the metric."""
    steps = range((len(values) - 1) * every + 1)
    return [{"step": step} | ({"solo/accuracy": values[step // every]} if step % every == 0 else {}) for step in steps]


@pytest.mark.parametrize(
    ("values", "stops"),
    [
        ([0.5, 0.6, 0.6], False),
        ([0.5, 0.6, 0.6, 0.59], True),
        ([0.5, 0.4, 0.6, 0.5], False),
        ([0.5, 0.4, 0.4], True),
        ([0.5], False),
    ],
)
def test_run_ends_after_patience_without_improvement(values: list[float], stops: bool) -> None:
    assert bool(stop_reason(SETTINGS, rows(values))) == stops


def test_reason_names_best_value_and_setting() -> None:
    assert stop_reason(SETTINGS, rows([0.5, 0.75, 0.6, 0.7], every=20)) == (
        "solo/accuracy has not improved on 0.75 (step 20) in its last 2 values (stop.patience=2)"
    )


@given(values=VALUES, patience=st.integers(1, 4), every=st.integers(1, 3))
def test_run_goes_on_while_last_best_is_recent(values: list[float], patience: int, every: int) -> None:
    settings = replace(SETTINGS, patience=patience)
    best = values.index(max(values))
    assert bool(stop_reason(settings, rows(values, every))) == (len(values) - 1 - best >= patience)


@given(values=VALUES)
def test_minimum_of_negated_metric_is_maximum(values: list[float]) -> None:
    negated = [{**row, "solo/accuracy": -row["solo/accuracy"]} for row in rows(values)]
    assert bool(stop_reason(SETTINGS, rows(values))) == bool(stop_reason(replace(SETTINGS, minimize=True), negated))


def test_small_improvement_does_not_count() -> None:
    settings = replace(SETTINGS, min_improvement=0.05)
    assert stop_reason(settings, rows([0.5, 0.54, 0.55]))
    assert not stop_reason(settings, rows([0.5, 0.54, 0.56]))


def test_metric_that_no_step_logs_is_refused() -> None:
    assert not stop_reason(StopConfig(metric="solo/acuracy"), rows([0.5]))
    with pytest.raises(ConfigError, match="^stop.metric=solo/acuracy: no step logs it; name one"):
        stop_reason(StopConfig(metric="solo/acuracy"), rows([0.5, 0.6]))


def test_run_without_metric_takes_all_steps() -> None:
    assert not stop_reason(StopConfig(), rows([0.5] * 10))
