"""Tokenizers with different vocabularies, and texts that are hard for them."""

from __future__ import annotations

from functools import cache

from hypothesis import strategies as st

from tandem.tokenization.byte_vocabulary import ByteVocabulary
from tests.support.builders import foreign_tokenizer, sentencepiece_tokenizer, small_tokenizer

WORDS = [" the", " Add 5", "Add", "é", "e\u0301", "漢字", " 漢", "🙂", ".", "it's"]
SPACES = ["\n", "\n\n", " ", "  ", "   ", "\t", "\u00a0"]
PIECES = [*WORDS, *SPACES]
SPECIALS = ["<|end|>", "<|user|>", "<eot>", "<sys>"]
TOKENIZERS = {"arith": small_tokenizer, "foreign": foreign_tokenizer, "sentencepiece": sentencepiece_tokenizer}


@cache
def vocabulary(name: str) -> ByteVocabulary:
    return ByteVocabulary(TOKENIZERS[name]())


texts = st.lists(st.sampled_from([*PIECES, *SPECIALS]), min_size=1, max_size=30).map("".join)
