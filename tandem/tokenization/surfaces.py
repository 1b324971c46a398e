"""The spelling of spaces and newlines in a vocabulary, the same for byte-level BPE and SentencePiece."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SPACE = "Ġ"  # U+0120: how byte-level BPE spells a space
NEWLINE = "Ċ"  # U+010A: how it spells a newline
SENTENCEPIECE_SPACE = "▁"  # U+2581
BYTE_TOKEN = re.compile(r"<0x([0-9A-F]{2})>")
"""A token of SentencePiece that stands for one byte."""


def is_sentencepiece(vocabulary: Mapping[str, int]) -> bool:
    """Whether the vocabulary marks spaces as SentencePiece does (Llama 2, Mistral, Gemma, Phi-3), not as byte-level BPE."""
    return SPACE not in vocabulary and any(surface.startswith(SENTENCEPIECE_SPACE) for surface in vocabulary)


def surfaces(tokenizer: PreTrainedTokenizerBase, size: int) -> Iterator[tuple[int, str]]:
    """Return the ids below `size` of tokens that are not special, each with its text.

    Spaces are spelled as `SPACE`, newlines as `NEWLINE`.
    """
    special = set(tokenizer.all_special_ids)
    ids = [i for i in range(min(size, len(tokenizer))) if i not in special]
    texts: list[str] = tokenizer.convert_ids_to_tokens(ids)
    if is_sentencepiece(tokenizer.get_vocab()):
        texts = [_byte_level(text) for text in texts]
    return zip(ids, texts, strict=True)


def _byte_level(surface: str) -> str:
    """Return a surface of SentencePiece with the spaces and newlines of byte-level BPE."""
    return surface.replace(SENTENCEPIECE_SPACE, SPACE).replace("\n", NEWLINE).replace("<0x0A>", NEWLINE)
