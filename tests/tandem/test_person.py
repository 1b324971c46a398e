"""Tests of a person who writes with a simulated model."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.cogeneration import Limits, Session, Token, Tokens, cogenerate
from tandem.person import BY_HAND, InterruptibleSession, Person, PersonSession
from tandem.replay import draws_of
from tandem.rollout import FROZEN_VERSION, JUNIOR, SENIOR, EndReason, Rollout, StopReason
from tandem.schedule import BEGINS_WORD, Pen, Schedule

VOCABULARY, EOS = 16, 15
EOS_IDS = frozenset({EOS})
WORDS = np.array([0] * 10 + [1] * 5 + [0], np.uint8)
PROMPT = [3, 1, 4]
SCHEDULES = st.builds(
    Schedule, st.floats(0, 1), st.integers(1, 10), alternates=st.booleans(), boundary=st.sampled_from([0, BEGINS_WORD])
)
DECISIONS = st.lists(st.lists(st.integers(0, EOS - 1), max_size=4), max_size=12)


@dataclass
class Model:
    """A simulated session, whose tokens depend on the whole text that it has read and written."""

    opened: list[Model]
    known: list[int] = field(default_factory=list)
    begun: list[Pen] = field(default_factory=list)
    closed: bool = False
    overruns: bool = False
    stop_reason: StopReason | None = None

    def __post_init__(self) -> None:
        assert all(model.closed for model in self.opened), "one request at a time"
        self.opened.append(self)

    def begin_turn(self, new_tokens: Sequence[int], pen: Pen, budget: int) -> None:
        assert new_tokens and budget > 0 and not self.closed
        self.known += new_tokens
        self.pen, self.left = pen, budget
        self.begun.append(pen)

    async def read(self) -> list[Token]:
        await asyncio.sleep(0)
        tokens: list[Token] = []
        while len(tokens) < 2 and self.left and (self.overruns or self.pen.author == self.begun[-1].author):
            tokens.append(Token(expected := next_token(self.known), -1.0, FROZEN_VERSION))
            self.known.append(expected)
            self.pen, self.left = self.pen.after(WORDS[expected]), self.left - 1
            self.stop_reason = StopReason.HANDOFF
        assert tokens, "the turn has ended"
        return tokens

    async def close(self) -> None:
        self.closed = True


def next_token(known: Sequence[int]) -> int:
    return hash(tuple(known)) % EOS


@dataclass
class Scripted:
    """A person with decisions who asks for the pen after some of the parts; without decisions left they end the text."""

    author: int
    decisions: list[list[int]]
    interruptions: Sequence[int] = ()
    asked: list[int] = field(default_factory=list)
    """how many tokens there were whenever the person was asked"""
    refused: int = 0
    shown: list[tuple[int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.person = Person(self.author, self.show)

    def show(self, author: int, tokens: Tokens) -> None:
        if tokens:
            self.shown += [(author, token) for token in tokens.ids]
            if author != self.author and len(self.shown) in self.interruptions:
                self.person.ask_for_pen()
            return
        assert author == self.author
        self.asked.append(len(self.shown))
        asyncio.get_running_loop().call_soon(self.decide)

    def decide(self) -> None:
        if self.person.decide(self.decisions.pop(0) if self.decisions else [EOS]):
            assert not self.person.decide([EOS]), "only once"
        else:
            self.refused += 1
            self.decide()


def write(
    script: Scripted, schedule: Schedule, seed: int = 0, tokens: int = 40, *, overruns: bool = False
) -> tuple[Rollout, list[Model]]:
    opened: list[Model] = []
    sessions: dict[int, Session] = {
        script.author: PersonSession(script.person, EOS_IDS),
        1 - script.author: InterruptibleSession(
            lambda: Model(opened, overruns=overruns), script.person, schedule, WORDS, seed, EOS_IDS
        ),
    }
    return asyncio.run(cogenerate("r", PROMPT, sessions, BY_HAND, WORDS, seed, Limits(tokens, 1000, EOS_IDS))), opened


@given(
    author=st.sampled_from([JUNIOR, SENIOR]),
    decisions=DECISIONS,
    interruptions=st.sets(st.integers(1, 40)),
    schedule=SCHEDULES,
    seed=st.integers(0, 2**32 - 1),
    tokens=st.integers(1, 40),
)
def test_rollout_of_person_and_model_replays(
    author: int, decisions: list[list[int]], interruptions: set[int], schedule: Schedule, seed: int, tokens: int
) -> None:
    script = Scripted(author, [*decisions], sorted(interruptions))
    rollout, opened = write(script, schedule, seed, tokens)
    text, mask = rollout.token_ids.tolist(), rollout.authorship.tolist()
    assert draws_of(rollout, BY_HAND, WORDS) is not None
    assert script.shown == list(zip(mask, text, strict=True)), "the page shows what the rollout holds"
    # The person's part is what they decided, the model's what follows from all that stands before it.
    own = [token for token, writer in zip(text, mask, strict=True) if writer == author]
    assert own == [token for decision in [*decisions, [EOS]] for token in decision][: len(own)]
    for at, writer in enumerate(mask):
        assert writer == author or text[at] == next_token(PROMPT + text[:at])
        assert math.isnan(rollout.logprobs[at]) == (writer == author)
    assert rollout.end is (EndReason.EOS if text[-1] == EOS else EndReason.BUDGET)
    assert all(model.closed for model in opened)
    # The person is asked where the model's schedule passes the pen or they asked for it, and nowhere else.
    pens = [pen for model in opened for pen in model.begun]
    assert all(pen.author == 1 - author and pen.gap == 0 for pen in pens)
    asked = [at for at in script.asked if at]
    for begin, end in zip((pen.position for pen in pens), [*asked, len(text)], strict=False):
        pen = Pen(schedule, seed, 1 - author, begin)
        while pen.author != author and pen.position < end:
            pen = pen.after(WORDS[text[pen.position]])
        assert pen.position == end, "no turn goes on after the pen passed"
        assert pen.author == author or end in interruptions or end == len(text)


def test_senior_begins_and_cannot_pass() -> None:
    script = Scripted(SENIOR, [[], [1, 2]])
    rollout, _ = write(script, Schedule(0.0))
    assert script.refused == 1 and rollout.authorship.tolist()[:3] == [SENIOR, SENIOR, JUNIOR]


def test_sessions_continue_over_turns_until_model_is_interrupted() -> None:
    alternating = Schedule(max_gap_tokens=4, alternates=True, boundary=0)
    _, opened = write(Scripted(JUNIOR, [[1], [2]]), alternating)
    assert [len(model.begun) for model in opened] == [3]
    _, opened = write(Scripted(JUNIOR, [[1], [2]], interruptions=[2]), alternating)
    assert [len(model.begun) for model in opened] == [1, 2]
    _, opened = write(Scripted(JUNIOR, [[], [2]]), alternating)
    assert [len(model.begun) for model in opened] == [1, 2]


def test_model_that_continues_after_its_turn_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="continued after 1 of 2 tokens"):
        write(Scripted(JUNIOR, []), Schedule(max_gap_tokens=1, alternates=True, boundary=0), overruns=True)


def test_cancelled_text_closes_model() -> None:
    opened: list[Model] = []
    person = Person(JUNIOR, lambda _author, _tokens: None)
    model = InterruptibleSession(lambda: Model(opened), person, Schedule(0.0), WORDS, 0, EOS_IDS)
    sessions: dict[int, Session] = {JUNIOR: PersonSession(person, EOS_IDS), SENIOR: model}

    async def cancel() -> None:
        writing = asyncio.ensure_future(cogenerate("r", PROMPT, sessions, BY_HAND, WORDS, 0, Limits(40, 1000, EOS_IDS)))
        while not opened or opened[-1].pen.author == SENIOR:
            await asyncio.sleep(0)
        writing.cancel()
        await asyncio.wait([writing])
        assert writing.cancelled() and not person.decide([1])

    asyncio.run(cancel())
    assert all(model.closed for model in opened)
