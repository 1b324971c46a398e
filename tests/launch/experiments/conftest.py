"""Sweeps of the tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hydra import initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra

from launch.command_line import CONF
from launch.experiments.sweep_runs import SweepRun, plan_runs
from tandem.config.load import schema


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
