"""When the pen changes hands."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
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
    Pen,
    Schedule,
    boundary_table,
    coin,
    redraw,
    replay,
)
from tests.support.builders import small_tokenizer

VOCABULARY = 8
WORDS = np.array([0, 0, 0, 0, 0, 0, 1, 1], np.uint8)
"""Of 8 tokens the last two begin a word."""

int64s = st.integers(-(2**63), 2**63 - 1)
seeds = st.integers(0, 2**32 - 1)
texts = st.lists(st.integers(0, VOCABULARY - 1), min_size=1, max_size=120)
schedules = st.builds(Schedule, prob_senior=st.floats(0, 1), max_gap_tokens=st.integers(1, 20))


def share_and_error(prob: float, draws: int) -> tuple[float, float]:
    """The expected share and four of its standard errors."""
    return prob, 4 * math.sqrt(prob * (1 - prob) / draws)


# The coin


@given(pairs=st.lists(st.tuples(int64s, int64s), min_size=1, max_size=20))
def test_the_coin_means_the_same_for_ints_and_tensors(pairs: list[tuple[int, int]]) -> None:
    coins = [coin(seed, position) for seed, position in pairs]
    columns = torch.tensor(pairs, dtype=torch.int64)
    assert coin(columns[:, 0], columns[:, 1]).tolist() == coins
    assert all(0 <= c < COIN_SIDES for c in coins)


def test_coins_are_uniform_and_independent_of_their_neighbours() -> None:
    coins = coin(*torch.meshgrid(torch.arange(256), torch.arange(256), indexing="ij")).double() / COIN_SIDES
    counts = torch.histc(coins, bins=16, min=0, max=1)
    expected = coins.numel() / 16
    chi_squared = float(((counts - expected) ** 2 / expected).sum())
    assert chi_squared < 38, "the 99.9 % point for 15 degrees of freedom is 37.7"
    centred = coins - coins.mean()
    for neighbours in (centred[1:] * centred[:-1], centred[:, 1:] * centred[:, :-1]):
        correlation = float(neighbours.mean() / centred.var())
        assert abs(correlation) < 4 / math.sqrt(coins.numel())


def test_the_coin_is_never_another_one() -> None:
    """Rollouts are replayed long after they were written: the coin is part of the format."""
    assert [coin(seed, position) for seed, position in ((0, 0), (0, 1), (1, 0), (2**32 - 1, 4000))] == [
        0,
        2261973619,
        3405691463,
        3797270689,
    ]


# The rule


@given(
    rows=st.lists(
        st.tuples(st.integers(0, 1), st.integers(0, 40), st.integers(0, 4000), st.integers(0, 1), seeds, schedules),
        min_size=1,
        max_size=20,
    )
)
def test_the_rule_means_the_same_for_ints_and_tensors(rows: list[tuple[int, int, int, int, int, Schedule]]) -> None:
    names = ("author", "gap", "position", "boundary", "seed", "threshold", "max_gap")
    plain = [(*row[:-1], row[-1].threshold, row[-1].max_gap_tokens) for row in rows]
    one_by_one = [redraw(**dict(zip(names, row, strict=True))) for row in plain]
    author, gap = redraw(**dict(zip(names, torch.tensor(plain, dtype=torch.int64).T, strict=True)))
    assert list(zip(author.tolist(), gap.tolist(), strict=True)) == one_by_one


@given(schedule=schedules, seed=seeds, tokens=texts)
def test_the_author_is_redrawn_at_boundaries_and_after_long_gaps_and_nowhere_else(
    schedule: Schedule, seed: int, tokens: list[int]
) -> None:
    mask = replay(schedule, WORDS, seed, tokens)
    last = 0
    assert mask[0] == (coin(seed, 0) < schedule.threshold)
    for position in range(1, len(tokens)):
        if WORDS[tokens[position - 1]] or position - last == schedule.max_gap_tokens:
            last = position
            assert mask[position] == (coin(seed, position) < schedule.threshold)
        else:
            assert mask[position] == mask[position - 1]
        assert position - last < schedule.max_gap_tokens


@given(schedule=schedules, seed=seeds, tokens=texts, cut=st.integers(0, 120))
def test_what_is_written_later_changes_no_earlier_author(schedule: Schedule, seed: int, tokens: list[int], cut: int) -> None:
    whole = replay(schedule, WORDS, seed, tokens)
    assert replay(schedule, WORDS, seed, tokens[:cut]).tolist() == whole[:cut].tolist()


def test_the_pen_says_who_writes_next() -> None:
    schedule = Schedule(0.5, 5)
    tokens = np.random.default_rng(0).integers(0, VOCABULARY, 200).tolist()
    pen = Pen(schedule, WORDS, seed=11)
    authors = [pen.author, *(pen.wrote(token) for token in tokens)]
    assert authors[:-1] == replay(schedule, WORDS, 11, tokens).tolist()
    assert pen.position == len(tokens)
    assert set(authors) == {SENIOR, JUNIOR}


@given(seed=seeds, tokens=texts)
def test_a_certain_coin_leaves_one_author(seed: int, tokens: list[int]) -> None:
    assert replay(Schedule(1.0), WORDS, seed, tokens).tolist() == [SENIOR] * len(tokens)
    assert replay(Schedule(0.0), WORDS, seed, tokens).tolist() == [JUNIOR] * len(tokens)


def test_only_a_certain_senior_is_solo() -> None:
    assert Schedule(1.0).solo
    assert not Schedule(0.0).solo and not Schedule(0.999).solo


@pytest.mark.parametrize(("boundary", "table"), [(BEGINS_WORD, 0 * WORDS), (0, WORDS), (ENDS_STEP, WORDS)])
def test_without_boundaries_of_its_kind_and_gaps_nobody_hands_over(boundary: int, table: np.ndarray) -> None:
    masks = [replay(Schedule(0.5, 1_000, boundary=boundary), table, seed, range(VOCABULARY)) for seed in range(64)]
    assert all(len(set(mask.tolist())) == 1 for mask in masks)
    assert {int(mask[0]) for mask in masks} == {SENIOR, JUNIOR}


@pytest.mark.parametrize("prob", [0.1, 0.5, 0.8])
def test_the_senior_writes_its_share(prob: float) -> None:
    rng = np.random.default_rng(0)
    masks = [replay(Schedule(prob, 32), WORDS, seed, rng.integers(0, VOCABULARY, 100)) for seed in range(400)]
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
