"""Tests of co-generation with simulated authors."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.cogeneration import Limits, Token, Tokens, cogenerate
from tandem.replay import replay
from tandem.rollout import FROZEN_VERSION, JUNIOR, SENIOR, EndReason, Rollout, StopReason
from tandem.schedule import BEGINS_WORD, Pen, Schedule

VOCABULARY = 16
EOS = 15
WORDS = np.array([0] * 10 + [1] * 5 + [0], np.uint8)
PROMPT = [3, 1, 4]
VERSIONS = {SENIOR: 7, JUNIOR: FROZEN_VERSION}

seeds = st.integers(0, 2**32 - 1)
schedules = st.builds(Schedule, prob_senior=st.floats(0, 1), max_gap_tokens=st.integers(1, 10), boundary=st.just(BEGINS_WORD))

Model = Callable[[Sequence[int]], int]


def hashing(known: Sequence[int]) -> int:
    """A deterministic model: its next token depends on all earlier tokens and is never the end of sequence."""
    return hash(tuple(known)) % EOS


def ending_at(length: int) -> Model:
    """A model that ends a completion at `length` tokens."""
    return lambda known: EOS if len(known) == len(PROMPT) + length - 1 else hashing(known)


@dataclass
class Writer:
    """A simulated session: a greedy model that reads the tokens it receives and follows the schedule."""

    author: int
    model: Model = hashing
    chunk: int = 3
    """tokens returned by each read"""
    overrun: bool = False
    """whether it continues when it should stop"""
    known: list[int] = field(default_factory=list)
    turns: int = 0
    closed: int = 0
    stop_reason: StopReason | None = None

    def begin_turn(self, new_tokens: Sequence[int], pen: Pen, budget: int) -> None:
        assert new_tokens and budget > 0
        self.known += new_tokens
        self.pen, self.left, self.turns = pen, budget, self.turns + 1

    async def read(self) -> list[Token]:
        await asyncio.sleep(0)
        tokens: list[Token] = []
        while len(tokens) < self.chunk and (self.overrun or self._holds_the_pen()):
            token = self.model(self.known)
            tokens.append(Token(token, logprob(self.author, len(self.known)), VERSIONS[self.author]))
            self.known.append(token)
            self.pen = self.pen.after(WORDS[token])
            self.left -= 1
        if not tokens:
            raise RuntimeError("this author has nothing to say")
        if not self._holds_the_pen():
            self.stop_reason = StopReason.HANDOFF if self.pen.author != self.author else StopReason.LENGTH
        return tokens

    def _holds_the_pen(self) -> bool:
        return self.pen.author == self.author and self.left > 0 and self.known[-1] != EOS

    async def close(self) -> None:
        self.closed += 1


@dataclass
class LinkedWriter:
    """A simulated session whose engine passes the pen from and to its partner's; each read returns tokens of both authors."""

    author: int
    chunks: Callable[[], int]
    """how many tokens the next read returns"""
    known: list[int]
    """the text, in both sessions the same"""
    seen: dict[int, int]
    """how much of it each author was told or has written, in both sessions the same"""
    stop_reason: StopReason | None = None

    @classmethod
    def pair(cls, chunks: Callable[[], int]) -> dict[int, LinkedWriter]:
        known, seen = list[int](), {SENIOR: 0, JUNIOR: 0}
        return {author: cls(author, chunks, known, seen) for author in seen}

    def begin_turn(self, new_tokens: Sequence[int], pen: Pen, budget: int) -> None:
        self.known += [] if self.known else new_tokens
        assert self.known[self.seen[self.author] :] == [*new_tokens]
        assert pen.author == self.author and budget > 0
        self.seen[self.author], self.pen, self.left = len(self.known), pen, budget

    async def read(self) -> Tokens:
        tokens = Tokens()
        for _ in range(min(self.chunks(), self.left)):
            writer, token = self.pen.author, hashing(self.known)
            tokens.extend([token], [logprob(writer, len(self.known))], VERSIONS[writer], writer)
            self.known.append(token)
            self.pen, self.left = self.pen.after(WORDS[token]), self.left - 1
            self.seen[writer] = len(self.known)
        return tokens

    async def close(self) -> None:
        pass


def logprob(author: int, known: int) -> float:
    """Return the log-probability of an author's token after `known` others."""
    return -0.25 * known - author


def pair(**options: Any) -> dict[int, Writer]:
    return {author: Writer(author, **options) for author in (SENIOR, JUNIOR)}


def write(sessions: dict[int, Any], schedule: Schedule, seed: int = 0, max_tokens: int = 40, context: int = 1_000) -> Rollout:
    limits = Limits(max_tokens, context, frozenset({EOS}))
    return asyncio.run(cogenerate("r", PROMPT, sessions, schedule, WORDS, seed, limits))


def solo_text(model: Model, length: int) -> list[int]:
    """Return the model's solo text of at most `length` tokens."""
    known = list(PROMPT)
    while len(known) < len(PROMPT) + length and known[-1] != EOS:
        known.append(model(known))
    return known[len(PROMPT) :]


@given(schedule=schedules, seed=seeds, chunk=st.integers(1, 5), length=st.integers(1, 60), budget=st.integers(1, 40))
def test_self_paired_text_equals_solo_text(schedule: Schedule, seed: int, chunk: int, length: int, budget: int) -> None:
    model = ending_at(length)
    writers = pair(model=model, chunk=chunk)
    rollout = write(writers, schedule, seed, max_tokens=budget)
    text = rollout.token_ids.tolist()
    assert text == solo_text(model, budget)
    assert rollout.end is (EndReason.EOS if length <= budget else EndReason.BUDGET)
    assert rollout.authorship.tolist() == replay(schedule, WORDS, seed, text).authorship.tolist()
    positions = range(len(PROMPT), len(PROMPT) + len(text))
    assert rollout.logprobs.tolist() == [logprob(a, p) for a, p in zip(rollout.authorship, positions, strict=True)]
    assert rollout.weight_versions.tolist() == [VERSIONS[a] for a in rollout.authorship.tolist()]
    assert (rollout.id, rollout.seed, rollout.prompt_ids.tolist()) == ("r", seed, PROMPT)
    for author, writer in writers.items():
        own = [turn for turn in rollout.turns if turn.author == author]
        assert writer.turns == len(own)
        assert writer.known == ([*PROMPT, *text[: own[-1].stop]] if own else [])
        assert writer.closed == 1


@given(schedule=schedules, seed=seeds, budget=st.integers(1, 40), data=st.data())
def test_reads_of_several_turns_give_the_text_of_reads_of_one(
    schedule: Schedule, seed: int, budget: int, data: st.DataObject
) -> None:
    sessions = LinkedWriter.pair(lambda: data.draw(st.integers(1, 20), label="tokens of a read"))
    rollout, expected = write(sessions, schedule, seed, budget), write(pair(), schedule, seed, budget)
    for name in ("token_ids", "authorship", "logprobs", "weight_versions"):
        np.testing.assert_array_equal(getattr(rollout, name), getattr(expected, name))
    assert rollout.end is expected.end is EndReason.BUDGET


def test_token_of_the_wrong_author_raises() -> None:
    class Wrong(LinkedWriter):
        async def read(self) -> Tokens:
            tokens = await super().read()
            tokens.authors[5] = 1 - cast(int, tokens.authors[5])
            return tokens

    with pytest.raises(RuntimeError, match="rollout r: the (senior|junior) wrote token 5, where the schedule expects"):
        write(Wrong.pair(lambda: 9), Schedule(0.5, 3))


def test_turns_alternate_and_cover_text() -> None:
    rollout = write(pair(), Schedule(0.5, 4), seed=5)
    turns = rollout.turns
    assert len(turns) == rollout.handoffs + 1 > 4
    assert turns[0].start == 0 and turns[-1].stop == len(rollout) == 40
    for one, next_one in pairwise(turns):
        assert one.stop == next_one.start and one.author != next_one.author


@pytest.mark.parametrize("author", [SENIOR, JUNIOR])
@pytest.mark.parametrize(
    ("limits", "length", "end"),
    [
        ({"max_tokens": 10}, 6, EndReason.EOS),
        ({"max_tokens": 6}, 6, EndReason.EOS),
        ({"max_tokens": 6}, 10, EndReason.BUDGET),
        ({"max_tokens": 10, "context": len(PROMPT) + 6}, 20, EndReason.CONTEXT),
        ({"max_tokens": 6, "context": len(PROMPT) + 6}, 20, EndReason.BUDGET),
    ],
)
def test_end_of_rollout_does_not_depend_on_author(author: int, limits: dict[str, int], length: int, end: EndReason) -> None:
    rollout = write(pair(model=ending_at(length)), Schedule(float(author)), **limits)
    assert rollout.end is end
    assert len(rollout) == 6
    assert set(rollout.authorship.tolist()) == {author}
    assert rollout.truncated == (end is not EndReason.EOS)


def test_end_of_sequence_precedes_handoff() -> None:
    schedule, length = Schedule(0.5, 1), 12
    seeds = range(8)
    texts = [write(pair(model=ending_at(length)), schedule, seed) for seed in seeds]
    assert {text.end for text in texts} == {EndReason.EOS} and {len(text) for text in texts} == {length}
    assert {int(text.authorship[-1]) for text in texts} == {SENIOR, JUNIOR}


def test_solo_schedule_never_starts_junior_turn() -> None:
    writers = pair()
    rollout = write(writers, Schedule(1.0))
    assert writers[JUNIOR].turns == 0 and writers[SENIOR].turns == 1
    alone = write({SENIOR: Writer(SENIOR)}, Schedule(1.0))
    assert alone.token_ids.tolist() == rollout.token_ids.tolist() == solo_text(hashing, 40)


@pytest.mark.parametrize("context", [len(PROMPT), len(PROMPT) - 1])
def test_prompt_that_fills_context_is_refused(context: int) -> None:
    writers = pair()
    with pytest.raises(ValueError, match=f"rollout r has 3 tokens; the context holds {context}"):
        write(writers, Schedule(), context=context)
    assert [writer.closed for writer in writers.values()] == [1, 1]
    assert [writer.turns for writer in writers.values()] == [0, 0]


def test_tokens_after_handoff_raise() -> None:
    writers = pair(overrun=True, chunk=10)
    with pytest.raises(
        RuntimeError, match="rollout r: the (senior|junior) wrote token .*, where the schedule expects the (senior|junior)"
    ):
        write(writers, Schedule(0.5, 3))
    assert [writer.closed for writer in writers.values()] == [1, 1]


@pytest.mark.parametrize("limits", [{"max_tokens": 4}, {"context": len(PROMPT) + 4}, {}], ids=["budget", "context", "eos"])
def test_tokens_after_end_raise(limits: dict[str, int]) -> None:
    with pytest.raises(RuntimeError, match="rollout r: the senior wrote token 4, after the text's end"):
        write(pair(model=ending_at(4), overrun=True, chunk=10), Schedule(1.0), **limits)


def test_empty_turn_raises_and_closes_both_sessions() -> None:
    writers = pair(chunk=0)
    with pytest.raises(RuntimeError, match="nothing to say"):
        write(writers, Schedule())
    assert [writer.closed for writer in writers.values()] == [1, 1]


def test_failing_close_does_not_leave_other_session_open() -> None:
    class Sticky(Writer):
        async def close(self) -> None:
            await super().close()
            raise OSError("stuck")

    writers = {author: Sticky(author) for author in (SENIOR, JUNIOR)}
    with pytest.raises(OSError, match="stuck"):
        write(writers, Schedule())
    assert [writer.closed for writer in writers.values()] == [1, 1]


def test_cancelled_rollout_closes_both_sessions() -> None:
    class Pondering(Writer):
        async def read(self) -> list[Token]:
            return await asyncio.Future()

    writers = {author: Pondering(author) for author in (SENIOR, JUNIOR)}

    async def cancelled() -> None:
        limits = Limits(10, 100, frozenset({EOS}))
        task = asyncio.create_task(cogenerate("r", PROMPT, writers, Schedule(), WORDS, 0, limits))
        await asyncio.sleep(0.01)
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancelled())
    assert sorted(writer.turns for writer in writers.values()) == [0, 1]
    assert [writer.closed for writer in writers.values()] == [1, 1]
