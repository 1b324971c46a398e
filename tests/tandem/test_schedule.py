"""Tests of the schedule: coins, redraws, boundaries, and the named schedules."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast

from tandem.config.rollout import ScheduleConfig
from tandem.config.schema import Config
from tandem.replay import replay
from tandem.rollout import JUNIOR, SENIOR
from tandem.schedule import (
    BEGINS_WORD,
    COIN_SIDES,
    ENDS_STEP,
    SCHEDULES,
    STEP,
    WHOLE_TEXT,
    BoundaryRule,
    Schedule,
    annealed_prob_senior,
    boundary_rule,
    boundary_table,
    coin,
    coins,
    line_table,
    needs_junior,
    schedule_at,
    unannealed_schedule,
)
from tests.support.builders import small_tokenizer

VOCABULARY = 8
WORDS = np.array([0, 0, 0, 0, 0, 0, 1, 1], np.uint8)
"""The last two of 8 tokens begin a word."""

seeds = st.integers(0, 2**32 - 1)
texts = st.lists(st.integers(0, VOCABULARY - 1), min_size=1, max_size=120)
schedules = st.builds(
    Schedule,
    prob_senior=st.floats(0, 1),
    max_gap_tokens=st.integers(1, 20),
    alternates=st.booleans(),
    boundary=st.sampled_from([0, BEGINS_WORD]),
)
any_schedules = st.builds(
    Schedule,
    prob_senior=st.sampled_from([0.0, 0.5, 1.0]) | st.floats(0, 1),
    max_gap_tokens=st.sampled_from([1, 2, 3, 7, 32, WHOLE_TEXT]),
    alternates=st.booleans(),
    boundary=st.sampled_from([0, BEGINS_WORD, STEP]),
)
"""All kinds of rules, also those that no named schedule has."""


def share_and_error(prob: float, draws: int) -> tuple[float, float]:
    """Return the expected share and four of its standard errors."""
    return prob, 4 * math.sqrt(prob * (1 - prob) / draws)


# The coin


def test_coins_are_uniform_and_independent() -> None:
    coins = np.array([[coin(seed, position) for position in range(256)] for seed in range(256)]) / COIN_SIDES
    counts, _ = np.histogram(coins, bins=16, range=(0, 1))
    expected = coins.size / 16
    chi_squared = ((counts - expected) ** 2 / expected).sum()
    assert chi_squared < 38, "the 99.9 % point for 15 degrees of freedom is 37.7"
    centered = coins - coins.mean()
    for neighbors in (centered[1:] * centered[:-1], centered[:, 1:] * centered[:, :-1]):
        correlation = neighbors.mean() / centered.var()
        assert abs(correlation) < 4 / math.sqrt(coins.size)


def test_coin_values_are_stable() -> None:
    """Saved rollouts are replayed later, so the coin is part of their format."""
    assert [coin(seed, position) for seed, position in ((0, 0), (0, 1), (1, 0), (2**32 - 1, 4000))] == [
        0,
        2261973619,
        3405691463,
        3797270689,
    ]


# The rule


@given(schedule=schedules, seed=seeds, tokens=texts)
def test_author_is_redrawn_only_at_boundaries_and_after_long_gaps(schedule: Schedule, seed: int, tokens: list[int]) -> None:
    mask, drawn = replay(schedule, WORDS, seed, tokens)
    last = 0
    assert drawn[0] and mask[0] == (schedule.alternates or coin(seed, 0) < schedule.threshold)
    for position in range(1, len(tokens)):
        boundary = WORDS[tokens[position - 1]] and schedule.boundary
        assert drawn[position] == bool(boundary or position - last == schedule.max_gap_tokens)
        if not drawn[position]:
            assert mask[position] == mask[position - 1]
            continue
        last = position
        if schedule.alternates:
            assert mask[position] != mask[position - 1]
        else:
            assert mask[position] == (coin(seed, position) < schedule.threshold)


@given(schedule=schedules, seed=seeds, tokens=texts, cut=st.integers(0, 120))
def test_later_tokens_do_not_change_earlier_authors(schedule: Schedule, seed: int, tokens: list[int], cut: int) -> None:
    whole = replay(schedule, WORDS, seed, tokens).authorship
    assert replay(schedule, WORDS, seed, tokens[:cut]).authorship.tolist() == whole[:cut].tolist()


@given(schedule=schedules, seed=seeds, tokens=texts)
def test_each_pen_determines_authors_of_all_later_tokens(schedule: Schedule, seed: int, tokens: list[int]) -> None:
    mask = replay(schedule, WORDS, seed, tokens).authorship.tolist()
    pen = schedule.pen(seed)
    for position, token in enumerate(tokens):
        assert (pen.position, pen.author) == (position, mask[position])
        later, before = pen, tuple(pen)
        for after, following in enumerate(tokens[position:], start=position):
            assert later.author == mask[after]
            later = later.after(WORDS[following])
        assert pen == before
        pen = pen.after(WORDS[token])


@given(schedule=schedules, seed=seeds, tokens=texts, breaks=st.lists(st.none() | st.booleans(), min_size=120, max_size=120))
def test_pen_over_tokens_is_pen_after_each_until_it_passes(
    schedule: Schedule, seed: int, tokens: list[int], breaks: list[bool | None]
) -> None:
    pen, boundaries = schedule.pen(seed), [int(WORDS[token]) for token in tokens]
    expected, written = pen, 0
    while written < len(tokens) and expected.author == pen.author:
        expected, written = expected.after(boundaries[written], breaks[written]), written + 1
    assert pen.over(boundaries, breaks[: len(tokens)]) == (expected, written)


@given(
    schedule=any_schedules,
    seed=seeds,
    table=st.lists(st.integers(0, 15), min_size=VOCABULARY, max_size=VOCABULARY),
    tokens=texts | st.just([]),
    breaks=st.none() | st.lists(st.booleans(), min_size=120, max_size=120),
)
def test_replay_is_pen_after_every_token(
    schedule: Schedule, seed: int, table: list[int], tokens: list[int], breaks: list[bool] | None
) -> None:
    pen, mask, drawn = schedule.pen(seed), [], []
    for position, token in enumerate(tokens):
        mask.append(pen.author)
        drawn.append(pen.gap == 0)
        pen = pen.after(table[token], (breaks[position] or (None if pen.author == SENIOR else False)) if breaks else None)
    broken = None if breaks is None else breaks[: len(tokens)]
    implied = replay(schedule, np.array(table, np.uint8), seed, tokens, broken)
    assert (implied.authorship.tolist(), implied.drawn.tolist()) == (mask, drawn)


@given(seed=st.integers(0, 2**40), positions=st.lists(st.integers(0, 2**32 - 1), min_size=1))
def test_coins_of_array_are_coins_of_its_positions(seed: int, positions: list[int]) -> None:
    assert coins(seed, np.array(positions, np.uint32)).tolist() == [coin(seed, position) for position in positions]


@given(seed=seeds, tokens=texts)
def test_prob_senior_of_0_or_1_gives_one_author(seed: int, tokens: list[int]) -> None:
    assert replay(Schedule(1.0), WORDS, seed, tokens).authorship.tolist() == [SENIOR] * len(tokens)
    assert replay(Schedule(0.0), WORDS, seed, tokens).authorship.tolist() == [JUNIOR] * len(tokens)


def test_only_prob_senior_1_is_solo() -> None:
    assert Schedule(1.0).solo
    assert not Schedule(0.0).solo and not Schedule(0.999).solo


@pytest.mark.parametrize(("boundary", "table"), [(BEGINS_WORD, 0 * WORDS), (0, WORDS), (ENDS_STEP, WORDS)])
def test_no_handoff_without_boundaries_and_gaps(boundary: int, table: np.ndarray) -> None:
    masks = [replay(Schedule(0.5, 1_000, boundary=boundary), table, seed, range(VOCABULARY)).authorship for seed in range(64)]
    assert all(len(set(mask.tolist())) == 1 for mask in masks)
    assert {int(mask[0]) for mask in masks} == {SENIOR, JUNIOR}


@pytest.mark.parametrize("prob", [0.1, 0.5, 0.8])
def test_share_of_senior_is_prob_senior(prob: float) -> None:
    rng = np.random.default_rng(0)
    masks = [replay(Schedule(prob, 32), WORDS, seed, rng.integers(0, VOCABULARY, 100)).authorship for seed in range(400)]
    first = np.array([mask[0] for mask in masks])
    expected, error = share_and_error(prob, len(first))
    assert abs(first.mean() - expected) < error
    # One token in four begins a word, so 100 tokens have 25 redraws; turns of unequal length halve their effective number.
    expected, error = share_and_error(prob, 400 * 25 // 2)
    assert abs(np.concatenate(masks).mean() - expected) < error


# Boundaries


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("word", {"Ġ5", "Ġ4", "Ġ+", "Ġ=", "Ġanswer"}),
        ("word_or_newline", {"Ġ5", "Ġ4", "Ġ+", "Ġ=", "Ċ", "Ġanswer"}),
        ("newline", {"Ċ"}),
    ],
)
def test_boundaries_of_words(rule: BoundaryRule, expected: set[str]) -> None:
    tokenizer = small_tokenizer()
    table = boundary_table(tokenizer, rule, len(tokenizer) + 10)
    assert table.dtype == np.uint8 and table.shape == (len(tokenizer) + 10,)
    ids = tokenizer.encode("Add 5: 43 + 5 = 48.\nThe answer<|end|>")
    surfaces = tokenizer.convert_ids_to_tokens(ids)
    found = {surface for i, surface in zip(ids, surfaces, strict=True) if table[i]}
    assert found == expected
    assert not table[tokenizer.all_special_ids].any()
    assert not table[len(tokenizer) :].any()


def test_paragraph_ends_with_two_newlines() -> None:
    tokenizer = small_tokenizer()
    with pytest.raises(ValueError, match="no token of .* is a 'paragraph' boundary"):
        boundary_table(tokenizer, "paragraph", len(tokenizer))
    wider = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(WordLevel({"a": 0, "Ċ": 1, "ĊĊ": 2, ".ĊĊ": 3, "ĠĊ": 4})))
    assert boundary_table(wider, "paragraph", 5).tolist() == [0, 0, 1, 1, 0]
    assert boundary_table(wider, "newline", 5).tolist() == [0, 1, 1, 1, 1]


SURFACES = ["a", "Ċ", "ĊĊ", "aĊ", "Ċa", "aĊĊ", "ĊaĊ", "ĊĊĊ", "ĠaĊb"]


@given(tokens=st.lists(st.integers(0, len(SURFACES) - 1), max_size=60))
def test_step_ends_where_turn_holds_a_paragraph_break(tokens: list[int]) -> None:
    """Also where two tokens of the turn make it; tokens of two turns make none."""
    vocabulary = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(WordLevel({s: i for i, s in enumerate(SURFACES)})))
    size = len(SURFACES)
    table = ENDS_STEP * boundary_table(vocabulary, "paragraph", size) | line_table(vocabulary, size)
    expected, author, turn = [], SENIOR, ""
    for token in tokens:
        expected.append(author)
        turn += SURFACES[token]
        if "ĊĊ" in turn:
            author, turn = 1 - author, ""
    steps = unannealed_schedule(ScheduleConfig(name="step", alternates=True))
    assert replay(steps, table, 3, tokens).authorship.tolist() == expected


def test_rule_none_has_no_boundaries() -> None:
    assert not boundary_table(small_tokenizer(), "none", 400).any()


def test_word_and_newline_boundaries_of_sentencepiece() -> None:
    """Spelled as U+2581, "\\n" (Gemma) and <0x0A> (Llama 2)."""
    tokens = {"▁a": 0, "b": 1, "▁": 2, "\n": 3, "<0x0A>": 4, "\n\n": 5, "a▁": 6}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(WordLevel(tokens)))
    assert boundary_table(tokenizer, "word", 7).tolist() == [1, 0, 1, 0, 0, 0, 0]
    assert boundary_table(tokenizer, "newline", 7).tolist() == [0, 0, 0, 1, 1, 1, 0]
    assert boundary_table(tokenizer, "paragraph", 7).tolist() == [0, 0, 0, 0, 0, 1, 0]
    assert np.array_equal(line_table(tokenizer, 7) > 0, [0, 0, 0, 1, 1, 1, 0])


def test_vocabulary_without_word_marker_is_refused() -> None:
    unmarked = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(WordLevel({"a": 0, "##b": 1})))
    with pytest.raises(ValueError, match="neither byte-level BPE nor SentencePiece"):
        boundary_table(unmarked, "word", 2)


# The named schedules


NAMED_VOCABULARY = 10
MARKS = {
    "none": np.zeros(NAMED_VOCABULARY, np.uint8),
    "word": np.array([0] * 6 + [1] * 4, np.uint8),
    "step": np.array([0] * 9 + [1], np.uint8),
}
NAMED_TABLE = BEGINS_WORD * MARKS["word"] + ENDS_STEP * MARKS["step"]

named_texts = st.lists(st.integers(0, NAMED_VOCABULARY - 1), min_size=2, max_size=150)


def named_mask(name: str, config: ScheduleConfig, seed: int, tokens: list[int]) -> list[int]:
    schedule = unannealed_schedule(replace(config, name=name))
    return replay(schedule, NAMED_TABLE, seed, tokens).authorship.tolist()


@given(
    name=st.sampled_from(sorted(SCHEDULES)),
    seed=seeds,
    tokens=named_texts,
    chunk=st.integers(1, 20),
    gap=st.integers(1, 40),
    alternates=st.booleans(),
)
def test_handoffs_occur_only_where_schedule_allows(
    name: str, seed: int, tokens: list[int], chunk: int, gap: int, alternates: bool
) -> None:
    config = ScheduleConfig(max_gap_tokens=gap, chunk_tokens=chunk, alternates=alternates)
    written = named_mask(name, config, seed, tokens)
    changes = [i for i in range(1, len(written)) if written[i] != written[i - 1]]
    boundaries = MARKS[SCHEDULES[name].boundary]
    last = 0
    for i in range(1, len(tokens)):
        due = boundaries[tokens[i - 1]] or i - last >= {"token": 1, "chunk": chunk, "word": gap, "alternate": gap}.get(
            name, 1 << 30
        )
        if not due:
            assert i not in changes
        last = i if due else last
    if name == "solo":
        assert set(written) == {SENIOR}
    if name == "alternate" or (alternates and name in ("step", "chunk")):
        assert written[0] == SENIOR


@given(tokens=named_texts, seed=seeds, chunk=st.integers(1, 9))
def test_strict_alternation_hands_over_at_every_boundary(tokens: list[int], seed: int, chunk: int) -> None:
    config = ScheduleConfig(chunk_tokens=chunk, alternates=True)
    assert named_mask("chunk", config, seed, tokens) == [SENIOR if i // chunk % 2 == 0 else JUNIOR for i in range(len(tokens))]
    steps = np.cumsum([0, *(MARKS["step"][token] for token in tokens[:-1])])
    assert named_mask("step", config, seed, tokens) == [SENIOR if step % 2 == 0 else JUNIOR for step in steps]


@pytest.mark.parametrize(("name", "redraws"), [("word", 0.4), ("token", 1.0), ("step", 0.1), ("chunk", 1 / 8)])
@pytest.mark.parametrize("prob", [0.3, 0.5])
def test_shares_and_turn_lengths_are_as_expected(name: str, redraws: float, prob: float) -> None:
    rng = np.random.default_rng(1)
    masks = np.array(
        [
            named_mask(name, ScheduleConfig(prob_senior=prob), s, rng.integers(0, NAMED_VOCABULARY, 400).tolist())
            for s in range(100)
        ]
    )
    draws = masks.size * redraws
    assert abs(masks.mean() - prob) < 6 * math.sqrt(prob * (1 - prob) / draws)
    handoffs = np.count_nonzero(np.diff(masks, axis=1))
    assert handoffs == pytest.approx(draws * 2 * prob * (1 - prob), rel=0.1)


def test_annealing_spans_first_to_last_step() -> None:
    config = ScheduleConfig(prob_senior=0.2, prob_senior_end=0.8)
    assert annealed_prob_senior(config, 30, 60) == 0.2
    for anneal in ("linear", "cosine"):
        chances = [annealed_prob_senior(replace(config, anneal=anneal), step, 61) for step in range(1, 62)]
        assert chances[0] == pytest.approx(0.2) and chances[30] == pytest.approx(0.5) and chances[-1] == pytest.approx(0.8)
        assert chances == sorted(chances)
    assert annealed_prob_senior(replace(config, anneal="linear"), 1, 1) == 0.2


def test_only_solo_schedules_need_no_junior() -> None:
    config = Config()
    assert needs_junior(config)
    config.schedule = ScheduleConfig(name="solo")
    assert not needs_junior(config) and schedule_at(config, 1).solo
    config.schedule = ScheduleConfig(prob_senior=1.0)
    assert not needs_junior(config)
    config.schedule = ScheduleConfig(prob_senior=1.0, prob_senior_end=0.5, anneal="linear")
    assert needs_junior(config)
    config.schedule = ScheduleConfig(name="alternate", prob_senior=1.0)
    assert needs_junior(config)
    config.junior = ["openai:http://host/v1,small"]
    assert not needs_junior(config)


def test_boundaries_cover_vocabulary_of_model() -> None:
    config = Config()
    config.model.word_boundary, config.model.step_boundary = "word_or_newline", "newline"
    rules = {}
    for name in SCHEDULES:
        config.schedule.name = name
        rules[name] = boundary_rule(config, config.schedule)
    assert rules == {
        "word": "word_or_newline",
        "alternate": "word_or_newline",
        "step": "newline",
        "token": "none",
        "chunk": "none",
        "solo": "none",
    }
