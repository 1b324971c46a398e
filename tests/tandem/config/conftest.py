"""Compose conf/ in this process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig

from launch.command_line import CONF
from tandem.config.load import schema

Compose = Callable[..., DictConfig]


@pytest.fixture(scope="module")
def composed() -> Any:
    """Return a function that composes conf/ with overrides, as launch.entry does."""
    ConfigStore.instance().store(name="schema", node=schema())
    with initialize_config_dir(version_base=None, config_dir=str(CONF)):
        yield lambda *overrides: compose("config", overrides=list(overrides))


@pytest.fixture(scope="module")
def defaults(composed: Compose) -> DictConfig:
    return composed()
