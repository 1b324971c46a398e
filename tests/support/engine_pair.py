"""A rollout actor without Ray: its code and its real engines in the test's process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any

from actors.engine_spec import EngineSpec
from actors.rollout import RolloutActor


class EnginePair:
    """A rollout actor and its real engines, run in this process on a separate event loop."""

    def __init__(self, specs: list[EngineSpec]) -> None:
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        self.actor = RolloutActor(specs)
        self.admitted: int = self.run(self.actor.start())

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Return the coroutine's result within five minutes."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(timeout=300)

    def close(self) -> None:
        """End the engines."""
        self.run(self.actor.close())
        self.loop.call_soon_threadsafe(self.loop.stop)
