"""Tests of the lines at the end of a run."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from launch.run.summary import summary
from tandem.config.run import CheckpointConfig, LogConfig
from tandem.config.schema import Config

ROWS = [
    {"step": 0, "solo/accuracy": 0.5, "solo/problems": 400.0, "time/evaluate_s": 10.0},
    {"step": 1, "time/step_s": 60.0},
    {"step": 2, "time/step_s": 65.0, "solo/accuracy": 0.8, "solo/problems": 400.0, "time/evaluate_s": 10.0},
    {"step": 3, "time/step_s": 65.0, "solo/accuracy": 0.75, "solo/problems": 400.0, "time/evaluate_s": 10.0},
]


def lines(monkeypatch: pytest.MonkeyPatch, config: Config, rows: list[dict[str, float]]) -> list[str]:
    monkeypatch.setattr(sys, "argv", ["launch/train.py", "name=first", "steps=3", "resume=auto", "algo=grpo"])
    return summary(config, Path("runs/first"), rows, total_s=260.0)


def test_summary_says_time_accuracy_and_next_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    assert lines(monkeypatch, Config(steps=3), ROWS) == [
        "3 steps in 0:04:20: start-up and the rest 0:00:40, training 0:03:10, evaluation 0:00:30",
        "solo accuracy on 400 held-out problems: 0.500 [0.45, 0.55] before, 0.750 [0.71, 0.79] after (95 % intervals)",
        "best after step 2: 0.800 [0.76, 0.84]",
        "Next:",
        "  python launch/report.py runs/first                          # every curve and rollout in one HTML file",
        "  python launch/evaluate.py senior=runs/first eval=full       # measure the senior",
        "  python launch/train.py algo=grpo resume=runs/first steps=6  # train on",
    ]


def test_summary_proposes_only_what_is_possible(monkeypatch: pytest.MonkeyPatch) -> None:
    config = Config(steps=3, log=LogConfig(export=False), checkpoint=CheckpointConfig(save_every=0))
    printed = lines(monkeypatch, config, ROWS[:1] + ROWS[1:2])
    assert [line for line in printed if line.startswith("  ")] == [
        "  python launch/report.py runs/first  # every curve and rollout in one HTML file"
    ]
    assert not any(line.startswith("best") for line in printed)
