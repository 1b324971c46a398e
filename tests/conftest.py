"""Fixtures that are dear to start and therefore shared: the base model and a pair of real engines."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import settings

from actors.engine_spec import EngineSpec
from actors.rollout import RolloutActor
from actors.rollout_pool import engine_specs
from launch.entry import set_environment
from tandem.authors import Authors, load_authors
from tandem.config import Config

CACHE = Path(os.environ.get("TANDEM_CACHE", "~/.cache/tandem")).expanduser()
set_environment(CACHE)
# Two busy cores make any single example slow now and then.
settings.register_profile("tandem", deadline=None)
settings.load_profile("tandem")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skips what needs a GPU where there is none."""
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="needs a GPU"))


@pytest.fixture(scope="session")
def config() -> Config:
    """The default run's configuration, as far as the tests depend on it, with room for few rollouts at a time."""
    config = Config(cache_dir=str(CACHE))
    config.model.source, config.model.recipe, config.model.word_boundary = "zoo", "plain", "word_or_newline"
    config.data.source = "arith"
    config.rollout.max_in_flight = 16
    return config


@pytest.fixture(scope="session")
def authors(config: Config) -> Authors:
    """The offline base model as its own junior (built on the first use ever)."""
    return load_authors(config)


class EnginePair:
    """A rollout actor's code and its real engines, run in this process on an event loop of its own."""

    def __init__(self, specs: list[EngineSpec]) -> None:
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self.actor = RolloutActor(specs)
        self.admitted: int = self.run(self.actor.start())

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """The coroutine's result, at most two minutes later."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout=120)

    def close(self) -> None:
        """Ends the engines."""
        self.run(self.actor.close())
        self._loop.call_soon_threadsafe(self._loop.stop)


@pytest.fixture(scope="session")
def engines(config: Config, authors: Authors) -> Iterator[EnginePair]:
    """A self-paired senior and junior engine."""
    pair = EnginePair(engine_specs(config, authors, "cpu")[0])
    yield pair
    pair.close()
