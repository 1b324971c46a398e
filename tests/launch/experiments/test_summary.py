"""Tests of the summary of a sweep."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from statistics import fmean, stdev

import pytest

from launch.experiments.run_outcome import FINISHED, WAITING, RunOutcome, error_of
from launch.experiments.run_outcome import INTERRUPTED as INTERRUPTED_STATE
from launch.experiments.summary import SweepSummary, grouped, result_of
from launch.experiments.sweep import sum_up
from launch.experiments.sweep_runs import SweepRun
from tests.support.run_folders import make_run

pytestmark = pytest.mark.seconds


def test_summary_has_last_values_and_groups_over_seeds(runs_of: Callable[..., list[SweepRun]], tmp_path: Path) -> None:
    runs = runs_of("algo=tandem,grpo", "seed=1,2,3", "steps=6")
    for number, run in enumerate(runs[:-1]):
        make_run(run.path, steps=6, seed=number)
        RunOutcome(FINISHED, 0, 10.0 + number, 6).write(run.path)
    results = [result_of(run) for run in runs]
    assert [result.state for result in results] == [FINISHED] * 5 + [WAITING]
    assert results[0].solo_accuracy == pytest.approx(0.7) and results[0].step == 6
    tandem, grpo = grouped(results)
    assert (tandem.overrides, grpo.overrides) == ({"algo": "tandem"}, {"algo": "grpo"})
    rewards = [result.reward for result in results[:3] if result.reward is not None]
    assert tandem.reward is not None and grpo.reward is not None and grpo.seconds is not None
    assert tandem.reward.runs == 3 and tandem.reward.mean == pytest.approx(fmean(rewards))
    assert tandem.reward.deviation == pytest.approx(stdev(rewards))
    assert (grpo.seconds.runs, grpo.seconds.mean) == (2, 13.5)
    SweepSummary("demo", results).write(tmp_path)
    assert "| tandem | 3 of 3 | 0.700 ± 0.000 |" in (tmp_path / "summary.md").read_text()
    assert "| grpo | 3 | not run |  |  |  |  |" in (tmp_path / "summary.md").read_text()


def test_summary_without_seeds_has_no_groups_and_no_deviation(runs_of: Callable[..., list[SweepRun]]) -> None:
    assert grouped([result_of(run) for run in runs_of("steps=1,2")]) == []
    one, _ = runs_of("seed=1,2")
    RunOutcome(FINISHED, 0, 5.0, one.config.steps).write(make_run(one.path))
    (group,) = grouped([result_of(run) for run in runs_of("seed=1,2")])
    assert group.seconds is not None
    assert (group.seconds.runs, group.seconds.deviation) == (1, None)


def test_run_with_more_steps_is_unfinished(runs_of: Callable[..., list[SweepRun]]) -> None:
    for run in runs_of("seed=1,2", "steps=6"):
        RunOutcome(FINISHED, 0, 5.0, 6).write(make_run(run.path))
    assert all(run.finished for run in runs_of("seed=1,2", "steps=6", "resume=auto"))
    longer = runs_of("seed=1,2", "steps=8", "resume=auto")
    assert not any(run.finished for run in longer) and result_of(longer[0]).state == INTERRUPTED_STATE


def test_summary_lists_runs_without_metrics(runs_of: Callable[..., list[SweepRun]], tmp_path: Path) -> None:
    from launch.terminal import terminal_console

    summary = sum_up(runs_of("seed=1,2"), tmp_path, terminal_console())
    assert not summary.complete and not (tmp_path / "report.html").exists()


@pytest.mark.parametrize(
    ("printed", "code", "error"),
    [
        (
            "step 1\nTraceback (most recent call last):\n  File x\n    f()\ntandem.guards.GuardError: no mask\n",
            1,
            "GuardError: no mask",
        ),
        ("train.py: steps=0: give more\n", 2, "train.py: steps=0: give more"),
        ("one\nmore\n", -9, "killed by SIGKILL; last printed: more"),
        ("", 3, "exit code 3"),
        ("", -11, "killed by SIGSEGV"),
    ],
)
def test_error_of_run_is_found_in_output(printed: str, code: int, error: str) -> None:
    assert error_of(printed, code).endswith(error)
