"""The end of the server that other files use: the last file that does."""

from __future__ import annotations

import pytest
from openai import OpenAI

from tests.support.server import ServerProcess


@pytest.mark.engines
def test_server_ends_at_sigterm_and_leaves_no_process(server: ServerProcess) -> None:
    """Its stream is cut after the time that requests have."""
    client = OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)
    stream = client.completions.create(
        model="team", prompt="<|user|>How many?<|assistant|>", temperature=2.0, n=20, stream=True
    )
    assert server.stop() == 143
    stream.close()
