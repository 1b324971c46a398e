"""A person who writes a text together with a model.

The model's turn ends where its schedule says, or where the person asks for the pen. There the person writes on, or lets the
model go on. The tokens of both say where the pen passes (`Token.breaks`), under the schedule `BY_HAND`, so that the rollout
is written, and replayed, like any other.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence

import numpy as np

from tandem.cogeneration import Session, Tokens
from tandem.rollout import FROZEN_VERSION, StopReason
from tandem.schedule import WHOLE_TEXT, Pen, Schedule

BY_HAND = Schedule(max_gap_tokens=WHOLE_TEXT, alternates=True, boundary=0)
"""The pen passes only where a token says so; the senior begins."""

Show = Callable[[int, Tokens], None]
"""Shows what an author has written; no tokens: the author is asked to write."""


class Person:
    """The decisions of the person who stands in for `author` in one text."""

    def __init__(self, author: int, show: Show) -> None:
        self.author, self.show = author, show
        self.wants_pen = False
        """whether the person has asked for the pen since the last decision"""
        self._written: list[int] = []
        """tokens of a decision that the person's session has not returned yet"""
        self._decision: asyncio.Future[Sequence[int]] | None = None
        """set while the person is asked"""
        self._may_pass = False

    def decide(self, token_ids: Sequence[int]) -> bool:
        """Write `token_ids`, or let the model go on if there are none. Return False if the person may not do this now."""
        if self._decision is None or self._decision.done() or not (token_ids or self._may_pass):
            return False
        self._decision.set_result(token_ids)
        return True

    def ask_for_pen(self) -> None:
        """End the model's turn, if it is writing."""
        self.wants_pen = self._decision is None or self._decision.done()

    async def takes_turn(self) -> bool:
        """Wait for the person's decision, and return whether they take the turn from the model."""
        self._written = await self._ask(may_pass=True)
        return bool(self._written)

    async def turn_tokens(self) -> list[int]:
        """Return the tokens of the person's turn; ask for them unless a decision has brought them."""
        tokens = self._written or await self._ask(may_pass=False)
        self._written = []
        return tokens

    async def _ask(self, *, may_pass: bool) -> list[int]:
        self.wants_pen, self._may_pass = False, may_pass
        self._decision = asyncio.get_running_loop().create_future()
        self.show(self.author, Tokens())
        return list(await self._decision)


class PersonSession:
    """The person's view of one rollout, which they read elsewhere (a `tandem.cogeneration.Session`).

    A turn is what the person writes at a time. Its tokens have no log-probability.
    """

    def __init__(self, person: Person, eos_ids: frozenset[int]) -> None:
        self._person, self._eos_ids = person, eos_ids
        self._budget = 0
        self.stop_reason: StopReason | None = None
        """why the person last stopped writing; None before they did"""

    def begin_turn(self, new_tokens: Sequence[int], pen: Pen, budget: int) -> None:
        """Begin a turn of at most `budget` tokens (see `Session.begin_turn`)."""
        self._budget = budget

    async def read(self) -> Tokens:
        """Return the whole turn, cut where the budget is spent."""
        turn, ids = Tokens(), (await self._person.turn_tokens())[: self._budget]
        turn.extend(ids, [math.nan] * len(ids), FROZEN_VERSION)
        _break_at_end(turn, passes=True)
        self.stop_reason = StopReason.LENGTH if len(ids) == self._budget else StopReason.HANDOFF
        if not self._eos_ids.isdisjoint(ids):
            self.stop_reason = StopReason.EOS
        self._person.show(self._person.author, turn)
        return turn

    async def close(self) -> None:
        """End the session."""


class InterruptibleSession:
    """The model's view of a rollout that it writes with `person` (a `tandem.cogeneration.Session`).

    Every turn follows `schedule` from a redraw that the model won. It ends where the pen of this schedule passes or the person
    asks for it, if the person then writes on. `open_session` opens a session of the model's engine: one writes until the
    person interrupts it, or lets the model go on; the next one reads the whole text.
    """

    def __init__(
        self,
        open_session: Callable[[], Session],
        person: Person,
        schedule: Schedule,
        boundaries: Sequence[int] | np.ndarray,
        seed: int,
        eos_ids: frozenset[int],
    ) -> None:
        self._open_session, self._person = open_session, person
        self._boundaries, self._eos_ids = bytes(boundaries), eos_ids
        self._session: Session | None = None
        self._text: list[int] = []
        """the prompt, and all that follows it"""
        self._pen = Pen(schedule, seed, 1 - person.author)
        self._budget = 0
        self.stop_reason: StopReason | None = None
        """why the engine last stopped; None before it did"""

    def begin_turn(self, new_tokens: Sequence[int], pen: Pen, budget: int) -> None:
        """Begin a turn (see `Session.begin_turn`)."""
        self._text += new_tokens
        self._begin(new_tokens, pen.position, budget)

    async def read(self) -> Tokens:
        """Return the whole turn, once the person writes on or the text has ended."""
        turn, passes = Tokens(), False
        while not passes and await self._write(turn):
            if passes := await self._person.takes_turn():
                continue
            await self.close()
            self._begin([], self._pen.position, self._budget)
        _break_at_end(turn, passes=passes)
        return turn

    async def close(self) -> None:
        """End the engine's session."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _begin(self, new_tokens: Sequence[int], position: int, budget: int) -> None:
        if self._session is None:
            self._session, new_tokens = self._open_session(), [*self._text]
        self._pen = self._pen._replace(author=1 - self._person.author, position=position, gap=0, line_ended=False)
        self._budget = budget
        self._session.begin_turn(new_tokens, self._pen, budget)

    async def _write(self, turn: Tokens) -> bool:
        """Add to `turn` until the person is to decide. Return False when the text has ended instead.

        Raises `RuntimeError` when the engine continues after its turn.
        """
        assert self._session is not None
        model = self._pen.author
        while self._pen.author == model:
            tokens = Tokens.of(await self._session.read())
            self._pen, authors = self._pen.over([self._boundaries[token] for token in tokens.ids], tokens.breaks)
            if (written := authors.find(1 - model)) >= 0:
                raise RuntimeError(f"the model continued after {written} of {len(tokens)} tokens, where the pen passed")
            self.stop_reason = self._session.stop_reason
            if not tokens:
                return False
            turn += tokens
            self._text += tokens.ids
            self._budget -= len(tokens)
            self._person.show(model, tokens)
            if self._budget <= 0 or not self._eos_ids.isdisjoint(tokens.ids):
                return False
            if self._person.wants_pen and self._pen.author == model:
                await self.close()  # the engine would write on
                break
        return True


def _break_at_end(turn: Tokens, *, passes: bool) -> None:
    """Have the pen pass after the last token of `turn` if it `passes`, and nowhere else."""
    turn.breaks = [False] * len(turn)
    if turn.breaks:
        turn.breaks[-1] = passes
