"""Sweeps and an experiment of the tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hydra import initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra

from launch.command_line import CONF
from launch.experiments.preset import Experiment, parse_experiment
from launch.experiments.sweep_runs import SweepRun, plan_runs
from tandem.config.load import schema
from tandem.config.run import LogConfig


@pytest.fixture(autouse=True)
def _hydra() -> Iterator[None]:
    GlobalHydra.instance().clear()
    ConfigStore.instance().store(name="schema", node=schema())
    yield
    GlobalHydra.instance().clear()


@pytest.fixture
def runs_of(tmp_path: Path) -> Callable[..., list[SweepRun]]:
    """The runs that a command line asks for, of the sweep `demo`."""

    def runs_of(*overrides: str) -> list[SweepRun]:
        with initialize_config_dir(str(CONF), version_base=None):
            return plan_runs([f"log.dir={tmp_path}", "name=demo", *overrides])

    return runs_of


@pytest.fixture(scope="module")
def jargon() -> Experiment:
    """Three arms with three seeds."""
    return parse_experiment(["preset=jargon", "seeds=3"])


@pytest.fixture
def compared(jargon: Experiment, tmp_path: Path) -> Experiment:
    """The experiment `jargon`, in folders that can be made."""
    runs = [replace(run, config=replace(run.config, log=LogConfig(dir=str(tmp_path / "runs")))) for run in jargon.runs]
    return replace(jargon, runs=tuple(runs), results=tmp_path / "results")
