"""Tests that refused sweeps and experiments name remedies that are accepted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from launch.experiments.sweep_runs import RECORD, SweepRun
from tandem.config.schema import ConfigError

pytestmark = pytest.mark.seconds


def test_existing_sweep_is_continued_only_with_checkpoints(runs_of: Callable[..., list[SweepRun]], tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / RECORD).touch()
    with pytest.raises(ConfigError, match="exists; choose another name, remove it, or continue it with resume=auto$"):
        runs_of("seed=1,2")
    assert len(runs_of("seed=1,2", "resume=auto")) == 2
    for part in ("rollouts_only=true", "learner_only=fake", "rollouts_only=false,true"):
        with pytest.raises(ConfigError, match="exists; choose another name, or remove it$"):
            runs_of("seed=1,2", part)
        with pytest.raises(ConfigError, match="writes no checkpoint to resume from"):
            runs_of("seed=1,2", part, "resume=auto")
