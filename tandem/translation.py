"""A junior with another tokenizer: the authors exchange text, and the rollout stays in the senior's tokens.

The senior writes as usual: none of its tokens is retracted, so that its samples are unbiased. The junior writes one *unit* at a
time, a word or (under `step`) a step. Only the token that begins the next word shows that a word is complete; this token is
retracted if the pen passes. A complete unit is translated at once, and the author is redrawn after it and nowhere else in the
junior's text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from transformers import PreTrainedTokenizerBase

from tandem.cogeneration import Session, Token
from tandem.rollout import JUNIOR, StopReason
from tandem.schedule import WHOLE_TEXT, BoundaryRule, Pen, Schedule, boundary_table
from tandem.tokenization.byte_vocabulary import ByteVocabulary

Unit = Literal["word", "step"]
"""What a junior writes at a time. A token that stops it begins the next word, but ends the current step."""

_ONE_UNIT = Schedule(prob_senior=1.0, max_gap_tokens=WHOLE_TEXT)
"""The schedule of the junior's engine, over the junior's boundaries: the first one ends the turn."""

_SLACK = 32
"""Tokens by which a unit may exceed the budget before it is cut: a part of it may take more tokens than all of it."""


class RetractingSession(Session, Protocol):
    """A session that can retract its author's last token."""

    def retract(self) -> None:
        """Remove the last token of the ended turn from the text, before the next turn begins."""
        ...


@dataclass(frozen=True)
class Translation:
    """Two vocabularies, and the tokens that stop the junior."""

    senior: ByteVocabulary
    junior: ByteVocabulary
    unit: Unit
    stops: np.ndarray
    """uint8 [V of the junior], 1 where a token begins a word or ends a step"""
    senior_eos: int
    junior_eos: frozenset[int]


def unit_of(rule: BoundaryRule) -> Unit:
    """Return what the junior writes at a time where the senior's boundaries follow `rule` (never `none`)."""
    return "step" if rule in ("paragraph", "newline") else "word"


def stop_table(tokenizer: PreTrainedTokenizerBase, rule: BoundaryRule, size: int) -> np.ndarray:
    """Return which of the junior's `size` tokens stop it where the senior's boundaries follow `rule`: uint8 [size].

    A word begins with a space, also under `word_or_newline`: byte-level BPE may join a newline to the character before it, but
    never a space to a letter or mark before it. So words that are encoded one by one have the tokens of the whole text.
    """
    return boundary_table(tokenizer, "word" if unit_of(rule) == "word" else rule, size)


class TranslatedSession:
    """The junior's view of one rollout, in the senior's tokens (a `tandem.cogeneration.Session`).

    `session` is the view in the junior's tokens; it holds at most `context` of them. It reads the prompt as `prompt_ids`, in
    the junior's template and tokens, in place of the first `senior_prompt_tokens` tokens that it receives. The log-probability
    of a unit stands at the unit's first token; the others have 0.
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
        self._pending_tokens, self._skipped_tokens = list(prompt_ids), senior_prompt_tokens
        self._room = context
        """tokens that the junior can still read or write"""
        self._ahead: Token | None = None
        """the token that the junior wrote after its last unit: the beginning of the next one, or its end of sequence"""
        self._budget = 0

    def begin_turn(self, new_tokens: Sequence[int], pen: Pen, budget: int) -> None:
        """Store the text of the senior's `new_tokens` as tokens of the junior (see `Session.begin_turn`).

        Raises `ValueError` when the prompt leaves the junior no room for a token.
        """
        if self._skipped_tokens and len(self._pending_tokens) >= self._room:
            raise ValueError(
                f"the prompt has {len(self._pending_tokens)} of the junior's tokens; its context holds {self._room}"
            )
        self._pending_tokens += self._translation.junior.encode(
            self._translation.senior.decode(new_tokens[self._skipped_tokens :])
        )
        self._skipped_tokens, self._budget = 0, budget
        # Special tokens have no text. If nothing else arrived, the token that the junior sampled ahead stays valid.
        if self._ahead and self._pending_tokens:
            self._session.retract()
            self._room, self._ahead = self._room + 1, None

    async def read(self) -> list[Token]:
        """Return the next unit, whose last token alone has `breaks` set; nothing when the junior's context is full."""
        written, self._ahead = [self._ahead] if self._ahead else [], None
        while (length := self._unit_length(written)) is None and self._room > len(self._pending_tokens):
            written += await self._write()
        unit = written[:length]
        if len(unit) < len(written):
            self._ahead = written[-1]
        if unit and unit[-1].id in self._translation.junior_eos:
            ids = [self._translation.senior_eos]
        else:
            ids = self._encoded(unit)[: self._budget]
        self._budget -= len(ids)
        return [
            Token(
                token,
                logprob=0.0 if i else sum(each.logprob for each in unit),
                version=unit[0].version,
                breaks=i == len(ids) - 1,
            )
            for i, token in enumerate(ids)
        ]

    async def close(self) -> None:
        """End the junior's session."""
        await self._session.close()

    @property
    def stop_reason(self) -> StopReason | None:
        """Return why the junior's engine last stopped."""
        return self._session.stop_reason

    async def _write(self) -> list[Token]:
        """Return what the junior writes until a token stops it or the budget is spent."""
        pen = Pen(_ONE_UNIT, seed=0, author=JUNIOR)
        allowance = min(self._budget + _SLACK, self._room - len(self._pending_tokens))
        self._session.begin_turn(self._pending_tokens, pen, allowance)
        self._room -= len(self._pending_tokens)
        self._pending_tokens = []
        written: list[Token] = []
        while pen.author == JUNIOR and len(written) < allowance and not self._ends_text(written):
            for token in await self._session.read():
                written.append(token)
                pen = pen.after(self._translation.stops[token.id])
        self._room -= len(written)
        return written

    def _unit_length(self, written: list[Token]) -> int | None:
        """Return how many of the tokens `written` form a unit that is complete or fills the budget; None if there is none yet.

        At most the last token belongs to the next unit.
        """
        if not written:
            return None
        before_last = written[:-1]
        if self._ends_text(written):
            return len(before_last) if self._encoded(before_last) else len(written)
        if self._translation.stops[written[-1].id]:
            if self._translation.unit == "step":
                return len(written)
            # More space may follow space, and is encoded with it.
            if self._encoded(before_last) and not self._text(before_last).decode(errors="replace")[-1].isspace():
                return len(before_last)
        return len(written) if len(self._encoded(written)) >= self._budget + _SLACK else None

    def _ends_text(self, written: list[Token]) -> bool:
        return bool(written) and written[-1].id in self._translation.junior_eos

    def _text(self, unit: list[Token]) -> bytes:
        return self._translation.junior.decode(token.id for token in unit)

    def _encoded(self, unit: list[Token]) -> list[int]:
        return self._translation.senior.encode(self._text(unit))
