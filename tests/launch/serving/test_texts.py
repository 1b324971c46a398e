"""Text from tokens that arrive one by one, and the texts at which it ends."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerBase

from launch.serving.texts import StoppedText
from tandem.tokenization.detokenizer import Detokenizer
from tests.support.builders import foreign_tokenizer


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    return foreign_tokenizer()


@given(data=st.data())
def test_pieces_are_the_text(tokenizer: PreTrainedTokenizerBase, data: st.DataObject) -> None:
    ids = data.draw(st.lists(st.integers(0, len(tokenizer) - 1), max_size=30))
    detokenizer = Detokenizer(tokenizer)
    pieces = [detokenizer.add(token) for token in ids]
    assert "".join(pieces) + detokenizer.end() == tokenizer.decode(ids, skip_special_tokens=True)


@given(st.text(max_size=20))
def test_character_comes_whole(tokenizer: PreTrainedTokenizerBase, text: str) -> None:
    detokenizer = Detokenizer(tokenizer)
    pieces = [detokenizer.add(token) for token in tokenizer.encode(text, add_special_tokens=False)]
    assert not any("\N{REPLACEMENT CHARACTER}" in piece for piece in pieces) or "\N{REPLACEMENT CHARACTER}" in text
    assert "".join(pieces) + detokenizer.end() == tokenizer.decode(tokenizer.encode(text, add_special_tokens=False))


@given(st.lists(st.text("ab", max_size=4), max_size=10), st.lists(st.text("ab", min_size=1, max_size=4), max_size=3))
def test_text_ends_before_first_stop(pieces: list[str], stops: list[str]) -> None:
    text, kept = StoppedText(stops), ""
    for piece in pieces:
        kept += text.add(piece)
        written = "".join(pieces)
        assert written.startswith(kept)
    kept += text.end()
    whole = "".join(pieces)
    found = [at for stop in stops if (at := whole.find(stop)) >= 0]
    assert text.stopped == bool(found)
    if not found:
        assert kept == whole
    else:
        # Of stops that overlap, the one that is complete first ends the text.
        ends = {whole.find(stop) + len(stop): whole.find(stop) for stop in stops if stop in whole}
        assert min(found) <= len(kept) <= max(ends.values())
        assert whole.startswith(kept)
        assert not any(stop in kept for stop in stops)
