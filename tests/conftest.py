"""Fixtures that are dear to start and therefore shared: the base model and a pair of real engines."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from engine_pair import EnginePair
from hypothesis import settings

from actors.rollout_pool import engine_specs
from launch.entry import set_environment
from launch.local_cluster import ray_cluster
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


@pytest.fixture(scope="session")
def engines(config: Config, authors: Authors) -> Iterator[EnginePair]:
    """A self-paired senior and junior engine."""
    pair = EnginePair(engine_specs(config, authors, "cpu")[0])
    yield pair
    pair.close()


@pytest.fixture(scope="session")
def ray_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A private Ray cluster that leaves nothing behind."""
    with ray_cluster(logs=tmp_path_factory.mktemp("ray") / "logs"):
        yield
