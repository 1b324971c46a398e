"""A session that notes when its author had the pen."""

from __future__ import annotations

import time
from collections.abc import Sequence

from tandem.cogeneration import Session, Token
from tandem.rollout import StopReason
from tandem.runtime.trace import Span
from tandem.schedule import Pen


class TracedSession:
    """A `tandem.cogeneration.Session` of `author` that appends every turn to `turns` once its tokens are read."""

    def __init__(self, session: Session, author: str, rollout_id: str, turns: list[Span]) -> None:
        self._session, self._author, self._rollout_id, self._turns = session, author, rollout_id, turns
        self._begun_s = 0.0

    def begin_turn(self, new_tokens: Sequence[int], pen: Pen, budget: int) -> None:
        """See `Session.begin_turn`."""
        self._begun_s = time.time()
        self._session.begin_turn(new_tokens, pen, budget)

    async def read(self) -> Sequence[Token]:
        """See `Session.read`. Where an engine tells of a turn in parts, each part is a span."""
        tokens = await self._session.read()
        start_s, self._begun_s = self._begun_s, time.time()
        self._turns.append(Span(f"{self._author} ({len(tokens)})", self._rollout_id, start_s, self._begun_s))
        return tokens

    async def close(self) -> None:
        """See `Session.close`."""
        await self._session.close()

    @property
    def stop_reason(self) -> StopReason | None:
        """See `Session.stop_reason`."""
        return self._session.stop_reason
