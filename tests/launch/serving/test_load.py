"""Many clients at a time, some of which disconnect or send garbage: a short form of `bench.serving`."""

from __future__ import annotations

import asyncio

import pytest

from bench.serving import figures, run_load
from tests.support.server import ServerProcess

SECONDS = 5.0


@pytest.mark.engines
def test_every_good_request_gets_its_own_answer(server: ServerProcess) -> None:
    load = asyncio.run(asyncio.wait_for(run_load(server.url, 8, SECONDS), 200))
    found = figures(load, SECONDS)
    assert not load.problems
    assert found["answered"]
    assert found["failed"] == found["mixed_up"] == found["refused_wrongly"] == 0
