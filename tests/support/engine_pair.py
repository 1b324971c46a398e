"""A rollout actor without Ray: its code and its real engines in the test's own process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any

from actors.engine_spec import EngineSpec
from actors.rollout import RolloutActor


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
