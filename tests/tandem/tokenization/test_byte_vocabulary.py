"""Tests of vocabularies in bytes."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, pre_tokenizers
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast
from transformers.convert_slow_tokenizer import bytes_to_unicode

from tandem.tokenization.byte_vocabulary import ByteVocabulary
from tests.support.builders import foreign_tokenizer, small_tokenizer
from tests.support.two_tokenizers import PIECES, TOKENIZERS, texts, vocabulary


@pytest.mark.parametrize("name", TOKENIZERS)
@given(text=st.binary(max_size=40) | texts.map(str.encode))
def test_decode_and_encode_preserve_bytes(name: str, text: bytes) -> None:
    vocabulary_of = vocabulary(name)
    assert vocabulary_of.decode(vocabulary_of.encode(text)) == text


@pytest.mark.parametrize("name", TOKENIZERS)
@given(text=st.lists(st.sampled_from([piece for piece in PIECES if piece != "e\u0301"])).map("".join))
def test_encode_equals_tokenizer(name: str, text: str) -> None:
    tokenizer = TOKENIZERS[name]()
    assert vocabulary(name).encode(text.encode()) == tokenizer.encode(text)
    assert vocabulary(name).decode(tokenizer.encode(text)) == text.encode()


@pytest.mark.parametrize("name", TOKENIZERS)
def test_special_tokens_have_no_text(name: str) -> None:
    tokenizer = TOKENIZERS[name]()
    assert vocabulary(name).decode(tokenizer.all_special_ids) == b""
    for special in tokenizer.all_special_tokens:
        assert not set(tokenizer.all_special_ids) & set(vocabulary(name).encode(special.encode()))
    assert tokenizer.encode(tokenizer.eos_token) == [tokenizer.eos_token_id], "the tokenizer itself is unchanged"


def test_truncation_and_padding_of_tokenizer_file_are_ignored() -> None:
    tokenizer = foreign_tokenizer()
    tokenizer.backend_tokenizer.enable_truncation(max_length=3)
    tokenizer.backend_tokenizer.enable_padding(length=50)
    assert ByteVocabulary(tokenizer).decode(ByteVocabulary(tokenizer).encode(b"Mia has 46 pens")) == b"Mia has 46 pens"
    assert len(ByteVocabulary(tokenizer).encode(b"4 6 7 8 9")) < 50


def test_byte_missing_from_vocabulary_is_dropped() -> None:
    spelt = json.loads(foreign_tokenizer().backend_tokenizer.to_str())
    for byte in (0x04, 0xFF):
        del spelt["model"]["vocab"][bytes_to_unicode()[byte]]
    lacking = ByteVocabulary(PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(json.dumps(spelt))))
    assert lacking.decode(lacking.encode(b"the\x04 \xff5\x05")) == b"the 5\x05"


def test_word_level_vocabulary_is_refused() -> None:
    with pytest.raises(ValueError, match="neither byte-level BPE nor"):
        ByteVocabulary(PreTrainedTokenizerFast(tokenizer_object=Tokenizer(WordLevel({"▁a": 0, "b": 1}))))


def test_tokenizer_that_adds_spaces_is_refused() -> None:
    adding = Tokenizer.from_str(small_tokenizer().backend_tokenizer.to_str())
    adding.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    with pytest.raises(ValueError, match="changes text"):
        ByteVocabulary(PreTrainedTokenizerFast(tokenizer_object=adding))
