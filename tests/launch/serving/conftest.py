"""The server that all tests of real clients share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.server import ServerProcess, running_server


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server of the offline base model, as its own junior."""
    overrides = ("rollout.max_in_flight=16", "rollout.sampling.max_tokens=600", "serve.max_texts=24", "serve.drain_s=2")
    with running_server(tmp_path_factory.mktemp("server"), *overrides) as running:
        yield running
