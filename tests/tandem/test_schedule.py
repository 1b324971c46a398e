"""When the pen changes hands."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast

from tandem.rollout import JUNIOR, SENIOR
from tandem.schedule import (
    BEGINS_WORD,
    COIN_SIDES,
    ENDS_STEP,
    BoundaryRule,
    Schedule,
    boundary_table,
    coin,
    replay,
)
from tests.support.builders import small_tokenizer

VOCABULARY = 8
WORDS = np.array([0, 0, 0, 0, 0, 0, 1, 1], np.uint8)
"""Of 8 tokens the last two begin a word."""

seeds = st.integers(0, 2**32 - 1)
texts = st.lists(st.integers(0, VOCABULARY - 1), min_size=1, max_size=120)
schedules = st.builds(
    Schedule,
    prob_senior=st.floats(0, 1),
    max_gap_tokens=st.integers(1, 20),
    alternates=st.booleans(),
    boundary=st.sampled_from([0, BEGINS_WORD]),
)


def share_and_error(prob: float, draws: int) -> tuple[float, float]:
    """The expected share and four of its standard errors."""
    return prob, 4 * math.sqrt(prob * (1 - prob) / draws)


# The coin


def test_coins_are_uniform_and_independent_of_their_neighbors() -> None:
    coins = np.array([[coin(seed, position) for position in range(256)] for seed in range(256)]) / COIN_SIDES
    counts, _ = np.histogram(coins, bins=16, range=(0, 1))
    expected = coins.size / 16
    chi_squared = ((counts - expected) ** 2 / expected).sum()
    assert chi_squared < 38, "the 99.9 % point for 15 degrees of freedom is 37.7"
    centered = coins - coins.mean()
    for neighbors in (centered[1:] * centered[:-1], centered[:, 1:] * centered[:, :-1]):
        correlation = neighbors.mean() / centered.var()
        assert abs(correlation) < 4 / math.sqrt(coins.size)


def test_the_coin_never_changes() -> None:
    """Rollouts are replayed long after they were written: the coin is part of the format."""
    assert [coin(seed, position) for seed, position in ((0, 0), (0, 1), (1, 0), (2**32 - 1, 4000))] == [
        0,
        2261973619,
        3405691463,
        3797270689,
    ]


# The rule


@given(schedule=schedules, seed=seeds, tokens=texts)
def test_the_author_is_redrawn_at_boundaries_and_after_long_gaps_and_nowhere_else(
    schedule: Schedule, seed: int, tokens: list[int]
) -> None:
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
def test_what_is_written_later_changes_no_earlier_author(schedule: Schedule, seed: int, tokens: list[int], cut: int) -> None:
    whole = replay(schedule, WORDS, seed, tokens).authorship
    assert replay(schedule, WORDS, seed, tokens[:cut]).authorship.tolist() == whole[:cut].tolist()


@given(schedule=schedules, seed=seeds, tokens=texts)
def test_each_pen_determines_the_authors_of_all_later_tokens(schedule: Schedule, seed: int, tokens: list[int]) -> None:
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


@given(seed=seeds, tokens=texts)
def test_a_certain_coin_leaves_one_author(seed: int, tokens: list[int]) -> None:
    assert replay(Schedule(1.0), WORDS, seed, tokens).authorship.tolist() == [SENIOR] * len(tokens)
    assert replay(Schedule(0.0), WORDS, seed, tokens).authorship.tolist() == [JUNIOR] * len(tokens)


def test_only_a_certain_senior_is_solo() -> None:
    assert Schedule(1.0).solo
    assert not Schedule(0.0).solo and not Schedule(0.999).solo


@pytest.mark.parametrize(("boundary", "table"), [(BEGINS_WORD, 0 * WORDS), (0, WORDS), (ENDS_STEP, WORDS)])
def test_without_boundaries_of_its_kind_and_gaps_nobody_hands_over(boundary: int, table: np.ndarray) -> None:
    masks = [replay(Schedule(0.5, 1_000, boundary=boundary), table, seed, range(VOCABULARY)).authorship for seed in range(64)]
    assert all(len(set(mask.tolist())) == 1 for mask in masks)
    assert {int(mask[0]) for mask in masks} == {SENIOR, JUNIOR}


@pytest.mark.parametrize("prob", [0.1, 0.5, 0.8])
def test_the_senior_writes_its_share(prob: float) -> None:
    rng = np.random.default_rng(0)
    masks = [replay(Schedule(prob, 32), WORDS, seed, rng.integers(0, VOCABULARY, 100)).authorship for seed in range(400)]
    first = np.array([mask[0] for mask in masks])
    expected, error = share_and_error(prob, len(first))
    assert abs(first.mean() - expected) < error
    # A token in four begins a word, so that 100 tokens have 25 redraws; turns of unequal length halve what they count for.
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
def test_what_begins_a_word(rule: BoundaryRule, expected: set[str]) -> None:
    tokenizer = small_tokenizer()
    table = boundary_table(tokenizer, rule, len(tokenizer) + 10)
    assert table.dtype == np.uint8 and table.shape == (len(tokenizer) + 10,)
    ids = tokenizer.encode("Add 5: 43 + 5 = 48.\nThe answer<|end|>")
    surfaces = tokenizer.convert_ids_to_tokens(ids)
    found = {surface for i, surface in zip(ids, surfaces, strict=True) if table[i]}
    assert found == expected
    assert not table[tokenizer.all_special_ids].any()
    assert not table[len(tokenizer) :].any()


def test_a_paragraph_ends_with_two_newlines() -> None:
    tokenizer = small_tokenizer()
    with pytest.raises(ValueError, match="no token of .* is a 'paragraph' boundary"):
        boundary_table(tokenizer, "paragraph", len(tokenizer))
    wider = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(WordLevel({"a": 0, "Ċ": 1, "ĊĊ": 2, ".ĊĊ": 3, "ĠĊ": 4})))
    assert boundary_table(wider, "paragraph", 5).tolist() == [0, 0, 1, 1, 0]
    assert boundary_table(wider, "newline", 5).tolist() == [0, 1, 1, 1, 1]


def test_no_boundaries_on_request() -> None:
    assert not boundary_table(small_tokenizer(), "none", 400).any()


def test_a_vocabulary_without_the_marker_is_refused() -> None:
    sentencepiece = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(WordLevel({"▁a": 0, "b": 1})))
    with pytest.raises(ValueError, match="not byte-level BPE"):
        boundary_table(sentencepiece, "word", 2)
