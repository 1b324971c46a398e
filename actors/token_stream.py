"""The tokens of rollouts while they are written, in the rollout actor."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from tandem.cogeneration import Session, Token, Tokens, WrappedSession


class WrittenTokens(NamedTuple):
    """Tokens that one author has written in a rollout, which come next in its text."""

    rollout_id: str
    author: int
    ids: list[int]
    logprobs: list[float]


class TokenStream:
    """The tokens that were written since they were last taken."""

    def __init__(self) -> None:
        self._written: list[WrittenTokens] = []
        self._arrived = asyncio.Event()

    def add(self, written: WrittenTokens) -> None:
        """Add tokens to be taken."""
        self._written.append(written)
        self._arrived.set()

    async def take(self) -> list[WrittenTokens]:
        """Wait until there are tokens, and return them all."""
        await self._arrived.wait()
        self._arrived.clear()
        written, self._written = self._written, []
        return written


class StreamedSession(WrappedSession):
    """A session that adds to `stream` the tokens that `author` writes in `session`."""

    def __init__(self, session: Session, author: int, rollout_id: str, stream: TokenStream) -> None:
        super().__init__(session)
        self._author, self._rollout_id, self._stream = author, rollout_id, stream

    async def read(self) -> Sequence[Token]:
        """Return the next tokens (see `Session.read`)."""
        tokens = Tokens.of(await super().read())
        if tokens.ids:
            self._stream.add(WrittenTokens(self._rollout_id, self._author, tokens.ids, tokens.logprobs))
        return tokens
