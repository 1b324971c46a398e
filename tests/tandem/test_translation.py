"""Tests of a junior with another tokenizer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerBase

from tandem.cogeneration import Limits, Session, Token, cogenerate
from tandem.replay import replay
from tandem.rollout import FROZEN_VERSION, JUNIOR, SENIOR, EndReason, Rollout, StopReason
from tandem.schedule import BEGINS_WORD, WHOLE_TEXT, BoundaryRule, Pen, Schedule, boundary_table
from tandem.translation import TranslatedSession, Translation, stop_table, unit_of
from tests.support.builders import foreign_tokenizer, small_tokenizer
from tests.support.two_tokenizers import TOKENIZERS, texts, vocabulary


@cache
def boundaries(name: str, rule: BoundaryRule) -> np.ndarray:
    return boundary_table(TOKENIZERS[name](), rule, len(TOKENIZERS[name]()))


@dataclass
class Writer:
    """A simulated session: it repeats `script` and follows the schedule, as an engine does."""

    author: int
    boundaries: np.ndarray
    script: Sequence[int]
    eos: int
    prompt: Sequence[int]
    context: int = 10_000
    chunk: int = 2
    """tokens returned by each read"""
    known: list[int] = field(default_factory=list)
    own: list[int] = field(default_factory=list)
    may_retract: bool = False
    stop_reason: StopReason | None = None

    def begin_turn(self, new_tokens: Sequence[int], pen: Pen, budget: int) -> None:
        assert new_tokens or (self.own and self.may_retract), "a turn must start with new tokens or continue"
        assert budget > 0 and len(self.known) + len(new_tokens) + budget <= self.context
        if not self.known:
            assert list(new_tokens[: len(self.prompt)]) == self.prompt
        self.known += new_tokens
        self.pen, self.left, self.may_retract = pen, budget, False

    async def read(self) -> list[Token]:
        await asyncio.sleep(0)
        written: list[Token] = []
        while len(written) < self.chunk and not self.may_retract:
            token = self.script[len(self.own) % len(self.script)]
            written.append(Token(token, logprob(len(self.own)), VERSIONS[self.author]))
            self.own.append(token)
            self.known.append(token)
            self.left -= 1
            self.pen = self.pen.after(self.boundaries[token])
            self.may_retract = self.pen.author != self.author or self.left == 0 or token == self.eos
        assert written, "this author wrote no token"
        return written

    def retract(self) -> None:
        assert self.may_retract
        assert self.own.pop() == self.known.pop()
        self.may_retract = False

    async def close(self) -> None:
        pass


VERSIONS = {SENIOR: 3, JUNIOR: FROZEN_VERSION}


def logprob(index: int) -> float:
    """Return the log-probability of an author's token of this index."""
    return -1.0 - index % 7


@dataclass
class Pair:
    """Two authors with different tokenizers, and their rollout."""

    senior: Writer
    junior: Writer
    translation: Translation
    rollout: Rollout

    schedule: Schedule
    boundaries: np.ndarray
    max_tokens: int
    tokenizer: PreTrainedTokenizerBase
    """the senior's"""

    def text(self, start: int, stop: int) -> bytes:
        """Return the text of a range of tokens, without special tokens."""
        return self.translation.senior.decode(self.rollout.token_ids[start:stop].tolist())

    def by(self, author: int) -> list[int]:
        """Return the author's tokens of the rollout."""
        return self.rollout.token_ids[self.rollout.authorship == author].tolist()


SENIOR_PROMPT, JUNIOR_PROMPT = "<|user|>Mia has 5 pens.<|assistant|>", "<sys>Mia has 5 pens. Think.\n"
JUNIOR_ALONE = Schedule(0.0, WHOLE_TEXT)
ALTERNATE = Schedule(max_gap_tokens=WHOLE_TEXT, alternates=True)


def write_together(
    scripts: tuple[Sequence[int], Sequence[int]],
    schedule: Schedule,
    seed: int,
    *,
    names: tuple[str, str] = ("arith", "foreign"),
    rule: BoundaryRule = "word",
    max_tokens: int = 40,
    junior_context: int = 400,
) -> Pair:
    tokenizers = [TOKENIZERS[name]() for name in names]
    senior_prompt = tokenizers[0].encode(SENIOR_PROMPT)
    junior_prompt = tokenizers[1].encode(JUNIOR_PROMPT)
    eos = [tokenizer.eos_token_id for tokenizer in tokenizers]
    stops = stop_table(tokenizers[1], rule, len(tokenizers[1]))
    senior_vocabulary, junior_vocabulary = map(vocabulary, names)
    translation = Translation(senior_vocabulary, junior_vocabulary, unit_of(rule), stops, eos[0], frozenset({eos[1]}))
    table = boundaries(names[0], rule)
    senior = Writer(SENIOR, table, scripts[0], eos[0], senior_prompt)
    junior = Writer(JUNIOR, stops, scripts[1], eos[1], junior_prompt, junior_context)
    session = TranslatedSession(junior, translation, junior_prompt, len(senior_prompt), junior_context)
    limits = Limits(max_tokens, 10_000, frozenset({eos[0]}))
    sessions: dict[int, Session] = {SENIOR: senior, JUNIOR: session}
    rollout = asyncio.run(cogenerate("r", senior_prompt, sessions, schedule, table, seed, limits))
    return Pair(senior, junior, translation, rollout, schedule, table, max_tokens, tokenizers[0])


seeds = st.integers(0, 2**32 - 1)
names = st.sampled_from([("arith", "foreign"), ("foreign", "arith")])
rules: st.SearchStrategy[BoundaryRule] = st.sampled_from(["word", "word_or_newline", "newline"])
schedules = st.builds(Schedule, st.floats(0.2, 0.8), st.integers(1, 40), st.booleans(), boundary=st.just(BEGINS_WORD))


@st.composite
def scripts(draw: st.DrawFn, name: str) -> list[int]:
    """Draw a script: an ordinary text, or any tokens, including halves of characters, special tokens and ends of sequence."""
    ordinary = texts.map(str.encode).map(vocabulary(name).encode)
    return draw(ordinary | st.lists(st.integers(0, len(TOKENIZERS[name]()) - 1), min_size=1, max_size=60))


@st.composite
def pairs(draw: st.DrawFn) -> Pair:
    chosen = draw(names)
    return write_together(
        (draw(scripts(chosen[0])), draw(scripts(chosen[1]))),
        draw(schedules),
        draw(seeds),
        names=chosen,
        rule=draw(rules),
        max_tokens=draw(st.integers(1, 60)),
        junior_context=draw(st.just(400) | st.integers(40, 100)),
    )


# Properties of a rollout


@given(pair=pairs())
def test_senior_tokens_are_exactly_sampled_ones(pair: Pair) -> None:
    rollout, seniors = pair.rollout, pair.rollout.authorship == SENIOR
    assert pair.by(SENIOR) == pair.senior.own
    assert rollout.logprobs[seniors].tolist() == [logprob(i) for i in range(len(pair.senior.own))]
    assert rollout.weight_versions.tolist() == np.where(seniors, VERSIONS[SENIOR], VERSIONS[JUNIOR]).tolist()


@given(pair=pairs())
def test_text_is_complete_and_each_author_receives_it_once(pair: Pair) -> None:
    rollout, translation = pair.rollout, pair.translation
    wrote, told = translation.junior.decode(pair.junior.own), translation.senior.decode(pair.by(JUNIOR))
    assert wrote.startswith(told)
    if rollout.end is not EndReason.BUDGET:
        # At most the token after the last complete word is missing.
        assert wrote in (told, told + translation.junior.decode(pair.junior.own[-1:]))
    for author, writer, its in ((SENIOR, pair.senior, translation.senior), (JUNIOR, pair.junior, translation.junior)):
        last = max((turn.stop for turn in rollout.turns if turn.author == author), default=0)
        knows, read = its.decode(writer.known[len(writer.prompt) :]), pair.text(0, last)
        assert knows.startswith(read)
        assert author == JUNIOR or knows == read


@given(pair=pairs())
def test_junior_text_is_tokenized_by_senior_tokenizer(pair: Pair) -> None:
    rollout, senior = pair.rollout, pair.translation.senior
    for turn in rollout.turns:
        # The last turn may be truncated, or contain the end of sequence.
        if turn.author == JUNIOR and turn.stop < len(rollout):
            assert rollout.breaks is not None
            steps = np.flatnonzero(rollout.breaks[turn.start : turn.stop - 1]) + turn.start + 1
            cuts = [turn.start, *(steps if pair.translation.unit == "step" else []), turn.stop]
            for start, stop in pairwise(cuts):
                assert senior.encode(pair.text(start, stop)) == rollout.token_ids[start:stop].tolist()


@given(pair=pairs())
def test_mask_equals_replayed_schedule(pair: Pair) -> None:
    rollout = pair.rollout
    implied = replay(pair.schedule, pair.boundaries, rollout.seed, rollout.token_ids, rollout.breaks).authorship
    assert implied.tolist() == rollout.authorship.tolist()
    if rollout.breaks is None:
        assert JUNIOR not in rollout.authorship
        return
    assert not rollout.breaks[rollout.authorship == SENIOR].any()
    for turn in rollout.turns:
        assert turn.author == SENIOR or rollout.breaks[turn.stop - 1]


@given(pair=pairs())
def test_first_token_of_unit_has_its_log_probability(pair: Pair) -> None:
    rollout = pair.rollout
    total = rollout.logprobs[rollout.authorship == JUNIOR].sum()
    spent = np.cumsum([0.0, *(logprob(i) for i in range(len(pair.junior.own)))])
    assert total in (spent[-1:] if rollout.end is EndReason.EOS and rollout.authorship[-1] == JUNIOR else spent)
    inside = np.flatnonzero((rollout.authorship[:-1] == JUNIOR) & (rollout.authorship[1:] == JUNIOR))
    for i in inside:
        assert rollout.breaks is not None and (rollout.logprobs[i + 1] == 0) == (not rollout.breaks[i])


@given(pair=pairs())
def test_rollout_ends_within_its_limits(pair: Pair) -> None:
    rollout = pair.rollout
    assert len(rollout) <= pair.max_tokens
    ends = np.flatnonzero(rollout.token_ids == pair.senior.eos).tolist()
    assert ends == ([len(rollout) - 1] if rollout.end is EndReason.EOS else [])
    if rollout.end is EndReason.BUDGET:
        assert len(rollout) == pair.max_tokens
    if rollout.end is EndReason.CONTEXT:
        last = max((turn.stop for turn in rollout.turns if turn.author == JUNIOR), default=0)
        knows, unread = pair.junior.known or pair.junior.prompt, pair.text(last, len(rollout))
        assert len(knows) + len(pair.translation.junior.encode(unread)) >= pair.junior.context


@given(pair=pairs())
def test_end_of_sequence_is_only_special_token_of_junior(pair: Pair) -> None:
    specials = {token for token, added in pair.tokenizer.added_tokens_decoder.items() if added.special}
    assert not specials & set(pair.by(JUNIOR)[:-1])
    assert specials & set(pair.by(JUNIOR)[-1:]) <= {pair.senior.eos}


# Single turns


def both(senior: str, junior: str, schedule: Schedule = ALTERNATE, **options: Any) -> Pair:
    """Return the rollout of authors that repeat texts; the senior has the arithmetic tokenizer, $ is an end of sequence."""
    return write_together((recital("arith", senior), recital("foreign", junior)), schedule, 0, **options)


def recital(name: str, text: str) -> list[int]:
    return [*vocabulary(name).encode(text.rstrip("$").encode()), *[TOKENIZERS[name]().eos_token_id] * text.endswith("$")]


def turns(pair: Pair) -> list[tuple[int, str]]:
    return [(turn.author, pair.text(turn.start, turn.stop).decode()) for turn in pair.rollout.turns]


def test_senior_stops_at_word_start_and_junior_at_word_end() -> None:
    pair = both(" +Start with 5", " the it's. Add 5")
    assert turns(pair)[:4] == [(SENIOR, " +"), (JUNIOR, " the"), (SENIOR, "Start with"), (JUNIOR, " it's.")]


def test_junior_that_keeps_pen_writes_word_by_word() -> None:
    pair = both("5", " the it's. Add 5  \n the", JUNIOR_ALONE)
    assert pair.rollout.breaks is not None
    ends = (np.flatnonzero(pair.rollout.breaks) + 1).tolist()
    words = [pair.text(start, stop).decode() for start, stop in pairwise([0, *ends])]
    assert words[:5] == [" the", " it's.", " Add", " 5", "  \n the"]


def test_junior_writes_step_by_step_under_schedule_step() -> None:
    pair = both("Add 5.\n", " the it's.\n the\n", rule="newline")
    steps = [(SENIOR, "Add 5.\n"), (JUNIOR, " the it's.\n"), (SENIOR, "Add 5.\n"), (JUNIOR, " the\n")]
    assert turns(pair)[:4] == steps


@pytest.mark.parametrize("junior", [" the$", "$", " $"])
def test_end_of_sequence_of_junior_becomes_that_of_senior(junior: str) -> None:
    pair = both("5", junior, JUNIOR_ALONE)
    assert pair.text(0, len(pair.rollout)).decode() + "$" == junior
    assert (pair.rollout.end, pair.rollout.token_ids[-1]) == (EndReason.EOS, pair.senior.eos)
    assert pair.by(SENIOR) == []


def test_end_of_sequence_is_retracted_after_handoff() -> None:
    pair = both(" 5", " the$", max_tokens=8)
    assert turns(pair)[:4] == [(SENIOR, " 5"), (JUNIOR, " the"), (SENIOR, " 5"), (JUNIOR, "")]
    assert pair.rollout.end is EndReason.EOS


def test_spelled_special_token_is_text() -> None:
    pair = both("<eot> 5", "<|end|> the", max_tokens=40)
    assert pair.rollout.end is EndReason.BUDGET
    assert "<|end|>" in pair.text(0, 40).decode() and pair.junior.eos not in pair.junior.known


def test_junior_without_new_tokens_continues() -> None:
    """The senior's only token is special and has no text."""
    user = small_tokenizer().convert_tokens_to_ids("<|user|>")
    script = recital("foreign", " the it's. Add")
    pair = write_together(([user], script), Schedule(max_gap_tokens=1, alternates=True), 0)
    assert turns(pair)[:4] == [(SENIOR, ""), (JUNIOR, " the"), (SENIOR, ""), (JUNIOR, " it's.")]
    assert pair.junior.known == [*pair.junior.prompt, *pair.junior.own]


def test_budget_counts_senior_tokens() -> None:
    letters = small_tokenizer().convert_tokens_to_ids(["Ġ", "a", "n", "s", "w", "e", "r"])
    pair = write_together(([0], letters), JUNIOR_ALONE, 0, names=("foreign", "arith"), max_tokens=2)
    assert turns(pair) == [(JUNIOR, " answer answer")]
    assert pair.rollout.end is EndReason.BUDGET


def test_full_junior_context_ends_rollout() -> None:
    pair = both("5", " the" * 40, JUNIOR_ALONE, junior_context=30, max_tokens=200)
    assert pair.rollout.end is EndReason.CONTEXT
    assert len(pair.junior.known) == 30
    assert pair.text(0, 200) == b" the" * len(pair.junior.own)


def test_retracted_tokens_free_junior_context() -> None:
    pair = both(" 5", " the it's. Add 5", junior_context=60, max_tokens=200)
    assert pair.rollout.end is EndReason.CONTEXT
    assert len(pair.rollout.turns) > 15 and len(pair.junior.known) >= 59


def test_prompt_that_fills_junior_context_is_refused() -> None:
    length = len(foreign_tokenizer().encode(JUNIOR_PROMPT))
    with pytest.raises(ValueError, match=f"the prompt has {length} of the junior's tokens; its context holds {length}"):
        both("5", " the", JUNIOR_ALONE, junior_context=length)
