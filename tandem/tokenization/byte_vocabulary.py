"""A vocabulary as bytes: every token is a string of bytes, every string of bytes a sequence of tokens."""

from __future__ import annotations

import re
from collections.abc import Iterable

from tokenizers import Tokenizer, normalizers
from transformers import PreTrainedTokenizerBase
from transformers.convert_slow_tokenizer import bytes_to_unicode

from tandem.tokenization.surfaces import BYTE_TOKEN, SENTENCEPIECE_SPACE, is_sentencepiece

_STRAY = re.compile("([\udc80-\udcff])")
"""How `surrogateescape` spells a byte that is not part of a UTF-8 character."""


class ByteVocabulary:
    """The tokens of `tokenizer` as bytes: byte-level BPE, or SentencePiece with a token for each byte.

    Decoding is exact, also for half characters, so that one author reads every byte of the other. Special tokens decode to
    nothing, and text that spells one stays text. A byte that the vocabulary lacks (some lack a few control characters) is left
    out. Raises `ValueError` for another kind of tokenizer, or one that changes text.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        # A copy: the tokenizer itself must still find special tokens in chat templates.
        self._encoder = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
        self._encoder.encode_special_tokens = True
        # A tokenizer's file may limit or pad lengths.
        self._encoder.no_truncation()
        self._encoder.no_padding()
        vocabulary, added = tokenizer.get_vocab(), tokenizer.added_tokens_decoder
        # Normalization is for prompts, as is the space that SentencePiece puts in front of a text: one author's text must reach
        # the other unchanged.
        if is_sentencepiece(vocabulary):
            self._encoder.normalizer = normalizers.Replace(" ", SENTENCEPIECE_SPACE)
            self._encoder.pre_tokenizer = None
            self._single = {int(match[1], 16): vocabulary[match[0]] for match in map(BYTE_TOKEN.fullmatch, vocabulary) if match}
            bytes_of = _sentencepiece_bytes
        else:
            self._encoder.normalizer = None
            self._single = {byte: vocabulary[char] for byte, char in bytes_to_unicode().items() if char in vocabulary}
            bytes_of = _byte_level_bytes
        try:
            self._bytes = {token: bytes_of(surface) for surface, token in vocabulary.items() if token not in added}
        except KeyError as error:
            raise ValueError(_unsupported(tokenizer)) from error
        if not self._single:
            raise ValueError(_unsupported(tokenizer))
        self._bytes |= {token: b"" if each.special else each.content.encode() for token, each in added.items()}
        probe = b"a b" + bytes(sorted(self._single))
        if self.decode(self.encode(probe)) != probe:
            raise ValueError(f"the tokenizer of {tokenizer.name_or_path!r} changes text")

    def decode(self, ids: Iterable[int]) -> bytes:
        """Return the text of `ids`; special tokens and unknown ids have none."""
        return b"".join(self._bytes.get(token, b"") for token in ids)

    def encode(self, text: bytes) -> list[int]:
        """Return the tokenizer's tokens for `text`; a byte that is not part of a character becomes the token of that byte."""
        pieces = _STRAY.split(text.decode(errors="surrogateescape"))
        ids: list[int] = []
        for characters, stray in zip(pieces[::2], [*pieces[1::2], ""], strict=True):
            ids += self._encoder.encode(characters, add_special_tokens=False).ids
            ids += [self._single[ord(byte) - 0xDC00] for byte in stray if ord(byte) - 0xDC00 in self._single]
        return ids


_BYTE_OF = {char: byte for byte, char in bytes_to_unicode().items()}


def _byte_level_bytes(surface: str) -> bytes:
    """Return the bytes of a token of byte-level BPE. Raises `KeyError` for a character that stands for no byte."""
    return bytes(_BYTE_OF[char] for char in surface)


def _sentencepiece_bytes(surface: str) -> bytes:
    """Return the bytes of a token of SentencePiece."""
    if byte := BYTE_TOKEN.fullmatch(surface):
        return bytes([int(byte[1], 16)])
    return surface.replace(SENTENCEPIECE_SPACE, " ").encode()


def _unsupported(tokenizer: PreTrainedTokenizerBase) -> str:
    return (
        f"the vocabulary of {tokenizer.name_or_path!r} is neither byte-level BPE nor SentencePiece with a token for each byte"
    )
