"""Co-generation: two authors write one text.

`cogenerate` is the method of the paper, independent of engines. A `Session` is one author's view of one rollout: it keeps the
text (an engine keeps the KV cache) and receives only the tokens that the other author has added.

The schedule is a pure function of (seed, tokens). So author and `cogenerate` both see from each token whether the pen passes,
and the partner starts as soon as that token arrives.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np

from tandem.rollout import JUNIOR, SENIOR, EndReason, Rollout, StopReason
from tandem.schedule import Pen, Schedule

_NAMES = {SENIOR: "senior", JUNIOR: "junior"}


class AuthorFailed(RuntimeError):
    """An author's engine failed, and the author's part of the rollout is lost."""


class Token(NamedTuple):
    """One written token: its id, its log-probability under its author (nats), the version of its author's weights."""

    id: int
    logprob: float
    version: int
    breaks: bool | None = None
    """whether the author is redrawn after it (see `tandem.translation`); None: the schedule decides"""


class Session(Protocol):
    """One author's view of one rollout."""

    def begin_turn(self, new_tokens: Sequence[int], pen: Pen, budget: int) -> None:
        """Give the author the pen: `new_tokens` are those it has not read (at least one), `budget` the most it may write.

        The author follows the schedule from `pen`, and stops when the pen passes.
        """
        ...

    async def read(self) -> Sequence[Token]:
        """Return the next tokens of the current turn, one or more; none when the author's context is full.

        An engine may return a turn's tokens one by one or all at once. Raises `AuthorFailed` when the author's engine failed,
        and `RuntimeError` when the author stops although the schedule leaves it the pen.
        """
        ...

    async def close(self) -> None:
        """End the session, in any state, and free what it holds."""
        ...

    @property
    def stop_reason(self) -> StopReason | None:
        """Return why the author last stopped writing; None if it never did."""
        ...


@dataclass(frozen=True)
class Limits:
    """Where a rollout ends."""

    max_tokens: int
    """the budget that both authors share"""
    context: int
    """the longest text, prompt included, that both models can read"""
    eos_ids: frozenset[int]
    """the tokens that end a text"""


@dataclass
class _Text:
    """The tokens written so far, as columns."""

    ids: list[int] = field(default_factory=list)
    authors: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    versions: list[int] = field(default_factory=list)
    breaks: list[bool | None] = field(default_factory=list)

    def append(self, author: int, token: Token) -> None:
        self.ids.append(token.id)
        self.authors.append(author)
        self.logprobs.append(token.logprob)
        self.versions.append(token.version)
        self.breaks.append(token.breaks)


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
        pen = schedule.pen(seed)
        budget = min(limits.max_tokens, limits.context - len(prompt_ids))
        text = _Text()
        end: EndReason | None = None
        pending_tokens = {author: list(prompt_ids) for author in sessions}
        while end is None:
            author = pen.author
            sessions[author].begin_turn(pending_tokens[author], pen, budget - len(text.ids))
            pending_tokens[author] = []
            while pen.author == author and end is None:
                try:
                    tokens = await sessions[author].read()
                except AuthorFailed as failure:
                    raise AuthorFailed(_failure_message(rollout_id, author, sessions, len(text.ids), failure)) from failure
                if not tokens:
                    end = EndReason.CONTEXT
                for token in tokens:
                    if pen.author != author or end is not None:
                        over = "the text had ended" if end is not None else "the pen had passed"
                        raise RuntimeError(f"rollout {rollout_id}: an author continued at token {len(text.ids)}, after {over}")
                    text.append(author, token)
                    pen = pen.after(boundaries[token.id], token.breaks)
                    for listener in pending_tokens.keys() - {author}:
                        pending_tokens[listener].append(token.id)
                    end = _ended(text, budget, limits)
    return Rollout(
        id=rollout_id,
        prompt_ids=np.array(prompt_ids, np.int32),
        token_ids=np.array(text.ids, np.int32),
        authorship=np.array(text.authors, np.int8),
        logprobs=np.array(text.logprobs, np.float32),
        weight_versions=np.array(text.versions, np.int32),
        end=end,
        seed=seed,
        breaks=None if set(text.breaks) <= {None} else np.array(text.breaks, bool),
        stop_reasons={author: session.stop_reason for author, session in sessions.items()},
    )


def _ended(text: _Text, budget: int, limits: Limits) -> EndReason | None:
    if text.ids[-1] in limits.eos_ids:
        return EndReason.EOS
    if len(text.ids) >= budget:
        return EndReason.BUDGET if budget == limits.max_tokens else EndReason.CONTEXT
    return None


def _failure_message(rollout_id: str, author: int, sessions: Mapping[int, Session], written: int, failure: AuthorFailed) -> str:
    partners = "".join(f"; the {_NAMES[partner]} cannot continue alone" for partner in sessions.keys() - {author})
    return f"rollout {rollout_id}: the {_NAMES[author]} failed after {written} tokens ({failure}){partners}"
