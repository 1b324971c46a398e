"""Co-generation: two authors write one text.

`cogenerate` is the method of the paper, independent of engines. A `Session` is one author's view of one rollout: it keeps the
text (an engine keeps the KV cache) and receives only the tokens that the other author has added.

The schedule is a pure function of (seed, tokens). So author and `cogenerate` both see from each token whether the pen passes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from itertools import zip_longest
from typing import NamedTuple, Protocol, Self, overload

import numpy as np

from tandem.rollout import AUTHOR_NAMES, EndReason, Rollout, StopReason
from tandem.schedule import Pen, Schedule


class AuthorFailed(RuntimeError):
    """An author's engine failed, and the author's part of the rollout is lost."""


class PartnerFailed(AuthorFailed):
    """The engine of the other author failed, while this one was read."""


class Token(NamedTuple):
    """One written token: its id, its log-probability under its author (nats), the version of its author's weights."""

    id: int
    logprob: float
    version: int
    breaks: bool | None = None
    """whether the author is redrawn after it (see `tandem.translation`); None: the schedule decides"""
    author: int | None = None
    """who wrote it; None: the author whose session was read"""


class Tokens(Sequence[Token]):
    """Written tokens as columns, which cost less than an object for each token."""

    def __init__(self, tokens: Iterable[Token] = ()) -> None:
        self.ids: list[int] = []
        self.logprobs: list[float] = []
        self.versions: list[int] = []
        self.breaks: list[bool | None] = []
        self.authors: list[int | None] = []
        for token in tokens:
            self.ids.append(token.id)
            self.logprobs.append(token.logprob)
            self.versions.append(token.version)
            self.breaks.append(token.breaks)
            self.authors.append(token.author)

    @classmethod
    def of(cls, tokens: Sequence[Token]) -> Tokens:
        """Return `tokens` as columns."""
        return tokens if isinstance(tokens, Tokens) else cls(tokens)

    def extend(self, ids: Sequence[int], logprobs: Sequence[float], version: int, author: int | None = None) -> None:
        """Add tokens of one version and author, after which the schedule decides."""
        self.ids += ids
        self.logprobs += logprobs
        self.versions += [version] * len(ids)
        self.breaks += [None] * len(ids)
        self.authors += [author] * len(ids)

    def __iadd__(self, other: Tokens) -> Self:
        self.ids += other.ids
        self.logprobs += other.logprobs
        self.versions += other.versions
        self.breaks += other.breaks
        self.authors += other.authors
        return self

    def __len__(self) -> int:
        return len(self.ids)

    @overload
    def __getitem__(self, index: int) -> Token: ...
    @overload
    def __getitem__(self, index: slice) -> list[Token]: ...
    def __getitem__(self, index: int | slice) -> Token | list[Token]:
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(len(self)))]
        return Token(self.ids[index], self.logprobs[index], self.versions[index], self.breaks[index], self.authors[index])


class Session(Protocol):
    """One author's view of one rollout."""

    def begin_turn(self, new_tokens: Sequence[int], pen: Pen, budget: int) -> None:
        """Give the author the pen: `new_tokens` are those it has not read (at least one), `budget` the most it may write.

        The author follows the schedule from `pen`, and stops when the pen passes. It may have received all this from its
        partner, and written already; if the last read returned the first tokens of this turn, `new_tokens` may be empty.
        """
        ...

    async def read(self) -> Sequence[Token]:
        """Return the next tokens of the current turn, one or more; none when the author's context is full.

        An engine may return a turn's tokens one by one or all at once, and with them those of later turns, of both authors, if
        the engines have passed the pen between these turns. Raises `AuthorFailed` when the author's engine failed,
        `PartnerFailed` when that of its partner did, and `RuntimeError` when the author stops although the schedule leaves it
        the pen.
        """
        ...

    async def close(self) -> None:
        """End the session, in any state, and free what it holds."""
        ...

    @property
    def stop_reason(self) -> StopReason | None:
        """Return why the author last stopped writing; None if it never did."""
        ...


class WrappedSession:
    """A session that passes every call on to `session`: the base of those that observe one."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def begin_turn(self, new_tokens: Sequence[int], pen: Pen, budget: int) -> None:
        """Begin a turn (see `Session.begin_turn`)."""
        self._session.begin_turn(new_tokens, pen, budget)

    async def read(self) -> Sequence[Token]:
        """Return the next tokens (see `Session.read`)."""
        return await self._session.read()

    async def close(self) -> None:
        """End the session."""
        await self._session.close()

    @property
    def stop_reason(self) -> StopReason | None:
        """Why the author last stopped writing; None before it did."""
        return self._session.stop_reason


@dataclass(frozen=True)
class Limits:
    """Where a rollout ends."""

    max_tokens: int
    """the budget that both authors share"""
    context: int
    """the longest text, prompt included, that both models can read"""
    eos_ids: frozenset[int]
    """the tokens that end a text"""


async def cogenerate(
    rollout_id: str,
    prompt_ids: Sequence[int],
    sessions: Mapping[int, Session],
    schedule: Schedule,
    boundaries: Sequence[int] | np.ndarray,
    seed: int,
    limits: Limits,
) -> Rollout:
    """Write one rollout: pass the pen between the authors' `sessions` (by `SENIOR` and `JUNIOR`) as the schedule says.

    The solo schedule needs only the senior's session. `boundaries` is the boundary table, uint8 [vocabulary]. All sessions are
    closed at the end, after an error too. Raises `ValueError` when the prompt leaves no room for a token, `RuntimeError` when
    an author continues after its turn, and `AuthorFailed`, naming both authors, when an author's engine failed.
    """
    async with AsyncExitStack() as stack:
        for session in sessions.values():
            stack.push_async_callback(session.close)
        if len(prompt_ids) >= limits.context:
            raise ValueError(
                f"the prompt of rollout {rollout_id} has {len(prompt_ids)} tokens; the context holds {limits.context}"
            )
        pen, begins = schedule.pen(seed), True
        table = bytes(boundaries)
        budget = min(limits.max_tokens, limits.context - len(prompt_ids))
        text, authors = Tokens(), bytearray()
        end: EndReason | None = None
        pending_tokens = {author: list(prompt_ids) for author in sessions}
        while end is None:
            author = pen.author
            if begins:
                sessions[author].begin_turn(pending_tokens[author], pen, budget - len(text))
                pending_tokens[author] = []
            try:
                tokens = Tokens.of(await sessions[author].read())
            except AuthorFailed as failure:
                failed = 1 - author if isinstance(failure, PartnerFailed) else author
                raise AuthorFailed(_failure_message(rollout_id, failed, sessions, len(text), failure)) from failure
            length, end = _until_end(tokens.ids, budget - len(text), budget == limits.max_tokens, limits.eos_ids)
            pen, written = pen.over([table[token] for token in tokens.ids[:length]], tokens.breaks)
            _check_authors(rollout_id, len(text), tokens, author, written)
            text += tokens
            authors += written
            begins = pen.author != author or 1 - author in written
            for reader, pending in pending_tokens.items():
                if known := written.rfind(reader) + 1:
                    pending.clear()
                pending += tokens.ids[known:]
    return Rollout(
        id=rollout_id,
        prompt_ids=np.array(prompt_ids, np.int32),
        token_ids=np.array(text.ids, np.int32),
        authorship=np.frombuffer(authors, np.int8).copy(),
        logprobs=np.array(text.logprobs, np.float32),
        weight_versions=np.array(text.versions, np.int32),
        end=end,
        seed=seed,
        breaks=None if set(text.breaks) <= {None} else np.array(text.breaks, bool),
        stop_reasons={author: session.stop_reason for author, session in sessions.items()},
    )


def _until_end(ids: Sequence[int], room: int, is_budget: bool, eos_ids: frozenset[int]) -> tuple[int, EndReason | None]:
    """Return how many of the new tokens `ids` belong to the text, and why the text ends with them; None if it continues.

    The text may have `room` more tokens: the rest of the budget if `is_budget`, else the rest of the context. No new tokens
    mean that the context is full.
    """
    if not eos_ids.isdisjoint(ids):
        length = next(index for index, token in enumerate(ids, 1) if token in eos_ids)
        if length <= room:
            return length, EndReason.EOS
    if len(ids) >= room:
        return room, EndReason.BUDGET if is_budget else EndReason.CONTEXT
    return len(ids), None if ids else EndReason.CONTEXT


def _check_authors(rollout_id: str, position: int, tokens: Tokens, reader: int, expected: bytes) -> None:
    """Raise `RuntimeError` unless the schedule `expected` the authors of `tokens`, which follow `position` tokens of the text.

    Tokens without an author are those of `reader`, whose session was read.
    """
    authors = bytes(reader if author is None else author for author in tokens.authors)
    if authors != expected:
        index = next(index for index, (author, due) in enumerate(zip_longest(authors, expected)) if author != due)
        due = (
            f"where the schedule expects the {AUTHOR_NAMES[expected[index]]}"
            if index < len(expected)
            else "after the text's end"
        )
        raise RuntimeError(f"rollout {rollout_id}: the {AUTHOR_NAMES[authors[index]]} wrote token {position + index}, {due}")


def _failure_message(rollout_id: str, author: int, sessions: Mapping[int, Session], written: int, failure: AuthorFailed) -> str:
    partners = "".join(f"; the {AUTHOR_NAMES[partner]} cannot continue alone" for partner in sessions.keys() - {author})
    return f"rollout {rollout_id}: the {AUTHOR_NAMES[author]} failed after {written} tokens ({failure}){partners}"
