"""A rollout actor of this process as a streaming pool."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any, cast

from actors.group_task import GroupTask
from actors.rollout import RolloutActor
from actors.token_stream import TokenStream, WrittenTokens
from tandem.rollout import Rollout


class LocalPool:
    """An actor as a pool, and as the stream of its own tokens. It is used in the event loop of the actor's engines."""

    running = 1

    def __init__(self, actor: RolloutActor) -> None:
        self._actor, self._inboxes = actor, dict[str, asyncio.Queue[WrittenTokens | None]]()
        actor._stream = cast(TokenStream, self)

    def streaming(self) -> LocalPool:
        return self

    @property
    def writing(self) -> int:
        """The number of texts that are being written."""
        return len(self._inboxes)

    def add(self, written: WrittenTokens) -> None:
        """Add tokens to be yielded, unless their text was cancelled."""
        if inbox := self._inboxes.get(written.rollout_id):
            inbox.put_nowait(written)

    async def stream(self, task: GroupTask) -> AsyncGenerator[WrittenTokens | Rollout, None]:
        """Write the text of `task` as `StreamingPool.stream` does."""
        (name,) = task.rollout_ids
        inbox = self._inboxes[name] = asyncio.Queue()
        group = asyncio.ensure_future(self._actor.write_group(task))
        group.add_done_callback(lambda _: inbox.put_nowait(None))
        try:
            while part := await inbox.get():
                yield part
            yield group.result().rollouts[0]
        finally:
            group.cancel()
            del self._inboxes[name]

    async def ask(self, rollout_id: str, method: str, *arguments: Any) -> Any:
        return await getattr(self._actor, method)(rollout_id, *arguments)
