"""Tests of the boundary table: where words begin, and where lines and steps end."""

from __future__ import annotations

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
from tandem.rollout import SENIOR
from tandem.schedule import (
    ENDS_STEP,
    SCHEDULES,
    BoundaryRule,
    boundary_rule,
    boundary_table,
    line_table,
    unannealed_schedule,
)
from tests.support.builders import small_tokenizer


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
