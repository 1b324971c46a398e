"""Tests of the lines at the end of a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from launch.run.summary import summary
from tandem.config.schema import Config

ROWS = [
    {"step": 0, "solo/accuracy": 0.5, "solo/problems": 400.0, "time/evaluate_s": 10.0},
    {"step": 1, "time/step_s": 60.0},
    {"step": 2, "time/step_s": 65.0, "solo/accuracy": 0.8, "solo/problems": 400.0, "time/evaluate_s": 10.0},
    {"step": 3, "time/step_s": 65.0, "solo/accuracy": 0.75, "solo/problems": 400.0, "time/evaluate_s": 10.0},
]


COMMANDS = {"python launch/report.py runs/first": "every curve", "python launch/train.py resume=runs/first": "train on"}


def lines(monkeypatch: pytest.MonkeyPatch, rows: list[dict[str, float]]) -> list[str]:
    monkeypatch.setattr("launch.run.summary.next_commands", lambda config, folder, rows: COMMANDS)
    return summary(Config(steps=3), Path("runs/first"), rows, total_s=260.0)


def test_summary_says_time_accuracy_and_next_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    assert lines(monkeypatch, ROWS) == [
        "3 steps in 0:04:20: start-up and the rest 0:00:40, training 0:03:10, evaluation 0:00:30",
        "solo accuracy on 400 held-out problems: 0.500 [0.45, 0.55] before, 0.750 [0.71, 0.79] after (95 % intervals)",
        "best after step 2: 0.800 [0.76, 0.84]",
        "Next:",
        "  python launch/report.py runs/first        # every curve",
        "  python launch/train.py resume=runs/first  # train on",
    ]


def test_summary_has_no_best_step_where_none_is_better(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not any(line.startswith("best") for line in lines(monkeypatch, ROWS[:2]))
