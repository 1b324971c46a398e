"""A junior with another tokenizer: it reads and writes text, and the rollout's record stays in the senior's tokens.

The senior writes as ever: no token that it sampled is taken back, so that what it learns from is unbiased. The junior writes
one *unit* at a time, a word or (under `step`) a step. That a word is complete shows only in the token that begins the next
one; this token is taken back if the pen passes. A complete unit is translated at once, and the author is redrawn after it and
nowhere else in the junior's text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from transformers import PreTrainedTokenizerBase

from tandem.cogeneration import Session, Token
from tandem.rollout import JUNIOR, StopReason
from tandem.schedule import BoundaryRule, Pen, Schedule, boundary_table
from tandem.schedules import WHOLE_TEXT
from tandem.tokenization.byte_level import ByteLevel

Unit = Literal["word", "step"]
"""What a junior writes at a time. A token that stops it begins the next word, but ends the present step."""

_ONE_UNIT = Schedule(prob_senior=1.0, max_gap_tokens=WHOLE_TEXT)
"""Followed by the junior's engine over the junior's own boundaries: the first one takes the pen away."""

_SLACK = 32
"""Tokens beyond the budget that a unit may come to before it is cut: its beginning may be more tokens than the whole."""


class RetractingSession(Session, Protocol):
    """A session that can take its author's last word back."""

    def retract(self) -> None:
        """Takes back the last token of the turn that ended, before the next turn begins: it is not part of the text."""
        ...


@dataclass(frozen=True)
class Translation:
    """Two vocabularies, and what the junior is stopped by."""

    senior: ByteLevel
    junior: ByteLevel
    unit: Unit
    stops: np.ndarray
    """uint8 [V of the junior], 1 where a token begins a word or ends a step"""
    senior_eos: int
    junior_eos: frozenset[int]


def unit_of(rule: BoundaryRule) -> Unit:
    """What the junior writes at a time where the senior's boundaries follow `rule` (no junior writes under `none`)."""
    return "step" if rule in ("paragraph", "newline") else "word"


def stop_table(tokenizer: PreTrainedTokenizerBase, rule: BoundaryRule, size: int) -> np.ndarray:
    """Which of the junior's `size` tokens stop it where the senior's boundaries follow `rule`; uint8 [size].

    A word begins with a space, also under `word_or_newline`: byte-level BPE may join a newline to what is in front of it, but
    never a space to a letter or a mark in front of it. Words, each encoded by itself, are therefore encoded as their whole is.
    """
    return boundary_table(tokenizer, "word" if unit_of(rule) == "word" else rule, size)


class TranslatedSession:
    """The junior's view of one rollout, told and telling in the senior's tokens (a `tandem.cogeneration.Session`).

    `session` is the junior's own, which holds at most `context` tokens. It reads the prompt as `prompt_ids`, in its own
    template and tokens, in place of the first `senior_prompt_tokens` tokens that it is told. Its log-probability of a unit
    stands at the unit's first token; the others have 0.
    """

    def __init__(
        self,
        session: RetractingSession,
        translation: Translation,
        prompt_ids: Sequence[int],
        senior_prompt_tokens: int,
        context: int,
    ) -> None:
        self._session, self._translation = session, translation
        self._news, self._skip = list(prompt_ids), senior_prompt_tokens
        self._room = context
        """tokens that the junior can still read or write"""
        self._ahead: Token | None = None
        """what the junior wrote beyond its last unit: the beginning of the next one, or its end of sequence"""
        self._budget = 0

    def begin_turn(self, new_tokens: Sequence[int], pen: Pen, budget: int) -> None:
        """Notes what the senior wrote, in the junior's tokens (see `tandem.cogeneration.Session`).

        Raises `ValueError` when the prompt leaves the junior no room for a token.
        """
        if self._skip and len(self._news) >= self._room:
            raise ValueError(f"the prompt has {len(self._news)} of the junior's tokens; its context holds {self._room}")
        self._news += self._translation.junior.encode(self._translation.senior.decode(new_tokens[self._skip :]))
        self._skip, self._budget = 0, budget
        # Special tokens are no news: then what the junior sampled still follows what it knows.
        if self._ahead and self._news:
            self._session.retract()
            self._room, self._ahead = self._room + 1, None

    async def read(self) -> list[Token]:
        """The next unit: of its tokens the last one alone has `breaks` set. Nothing when the junior's context is full."""
        unit, self._ahead = [self._ahead] if self._ahead else [], None
        while not self._complete(unit) and self._room > len(self._news):
            unit += await self._write()
        if unit and unit[-1].id in self._translation.junior_eos:
            ids = [self._translation.senior_eos]
        else:
            ids = self._encoded(unit)[: self._budget]
        self._budget -= len(ids)
        return [
            Token(
                token,
                logprob=0.0 if i else sum(written.logprob for written in unit),
                version=unit[0].version,
                breaks=i == len(ids) - 1,
            )
            for i, token in enumerate(ids)
        ]

    async def close(self) -> None:
        """Ends the junior's own session."""
        await self._session.close()

    @property
    def stop_reason(self) -> StopReason | None:
        """Why the junior's engine last stopped."""
        return self._session.stop_reason

    async def _write(self) -> list[Token]:
        """What the junior writes until it is stopped, or has written what the budget can hold."""
        pen = Pen(_ONE_UNIT, self._translation.stops, seed=0, author=JUNIOR)
        allowance = min(self._budget + _SLACK, self._room - len(self._news))
        self._session.begin_turn(self._news, pen, allowance)
        self._room -= len(self._news)
        self._news = []
        written: list[Token] = []
        while pen.author == JUNIOR and len(written) < allowance and not self._ends_text(written):
            for token in await self._session.read():
                written.append(token)
                pen.wrote(token.id)
        self._room -= len(written)
        return written

    def _complete(self, unit: list[Token]) -> bool:
        """Whether `unit` is one, or as much as the budget allows; takes what goes beyond it out and keeps it ahead."""
        if not unit:
            return False
        if self._ends_text(unit):
            if self._encoded(unit[:-1]):
                self._ahead = unit.pop()
            return True
        if self._translation.stops[unit[-1].id]:
            if self._translation.unit == "step":
                return True
            # More space may follow space, and is encoded with it.
            if self._encoded(unit[:-1]) and not self._text(unit[:-1]).decode(errors="replace")[-1].isspace():
                self._ahead = unit.pop()
                return True
        return len(self._encoded(unit)) >= self._budget + _SLACK

    def _ends_text(self, written: list[Token]) -> bool:
        return bool(written) and written[-1].id in self._translation.junior_eos

    def _text(self, unit: list[Token]) -> bytes:
        return self._translation.junior.decode(token.id for token in unit)

    def _encoded(self, unit: list[Token]) -> list[int]:
        return self._translation.senior.encode(self._text(unit))
