"""Fixtures of the tests of actors/."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import ray

from tests.support.stage import new_stage


@pytest.fixture(scope="module")
def shared_stage(ray_session: None) -> Iterator[Any]:
    """The actor that records the events of simulated replicas, shared by a module."""
    actor = new_stage()
    yield actor
    ray.kill(actor)
