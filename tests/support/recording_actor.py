"""A rollout actor that only records the calls of the learner. It imports no library, so that its process starts at once."""

from __future__ import annotations

import asyncio
from typing import Any


class RecordingActor:
    """An actor with the learner's calls of `transfer`."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []

    async def transfer(self, step: str, info: Any) -> None:
        """Record the call."""
        self.calls.append((step, info))
        await asyncio.sleep(0)

    async def all(self) -> list[tuple[str, Any]]:
        """Return the calls in order."""
        return self.calls
