"""Tests of the text that each token adds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.tokenization.pieces import pieces
from tests.support.builders import foreign_tokenizer, small_tokenizer
from tests.support.two_tokenizers import TOKENIZERS, texts


@pytest.mark.parametrize("name", TOKENIZERS)
@given(text=texts)
def test_pieces_concatenate_to_text(name: str, text: str) -> None:
    tokenizer = TOKENIZERS[name]()
    ids = tokenizer.encode(text)
    assert len(pieces(ids, tokenizer)) == len(ids)
    assert "".join(pieces(ids, tokenizer)) == tokenizer.decode(ids)


@given(ids=st.lists(st.integers(0, 319), max_size=40))
def test_any_tokens_have_pieces(ids: list[int]) -> None:
    assert len(pieces(ids, small_tokenizer())) == len(ids)


def test_character_belongs_to_token_that_completes_it() -> None:
    tokenizer = small_tokenizer()
    ids = tokenizer.encode("a🙂b")
    assert len(ids) == 6, "this vocabulary has four tokens for the emoji"
    assert pieces(ids, tokenizer) == ["a", "", "", "", "🙂", "b"]


def test_incomplete_character_is_shown_as_incomplete() -> None:
    tokenizer = small_tokenizer()
    *ids, _ = tokenizer.encode("a🙂")
    assert "".join(pieces(ids, tokenizer)) == "a\ufffd"
    assert pieces([*ids, *tokenizer.encode("bcdef")], tokenizer)[-1] == "f", "later characters are complete again"


def test_pieces_keep_spaces_and_special_tokens() -> None:
    for tokenizer in (small_tokenizer(), foreign_tokenizer()):
        ids = [*tokenizer.encode("4 6"), tokenizer.eos_token_id]
        shown = pieces(ids, tokenizer)
        assert "".join(shown[:-1]) == "4 6" and shown[-1] == tokenizer.eos_token
