"""A byte-level BPE vocabulary: every token is a string of bytes, every string of bytes a sequence of tokens."""

from __future__ import annotations

import re
from collections.abc import Iterable

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase
from transformers.convert_slow_tokenizer import bytes_to_unicode

_STRAY = re.compile("([\udc80-\udcff])")
"""How `surrogateescape` spells a byte that is not part of a UTF-8 character."""


class ByteLevel:
    """The tokens of `tokenizer` as bytes.

    Decoding is exact, also for half characters, so that one author reads every byte of the other. Special tokens decode to
    nothing, and text that spells one stays text. A byte that the vocabulary lacks (some lack a few control characters) is left
    out. Raises `ValueError` when the tokenizer is not byte-level BPE.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        # A copy: the tokenizer itself must still find special tokens in chat templates.
        self._encoder = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
        self._encoder.encode_special_tokens = True
        # A tokenizer's file may limit or pad lengths.
        self._encoder.no_truncation()
        self._encoder.no_padding()
        # Normalization is for prompts; one author's text must reach the other unchanged.
        self._encoder.normalizer = None
        added, byte_of = tokenizer.added_tokens_decoder, {char: byte for byte, char in bytes_to_unicode().items()}

        def bytes_of(token: int, surface: str) -> bytes:
            if token in added:
                return b"" if added[token].special else surface.encode()
            return bytes(byte_of[char] for char in surface)

        vocabulary = tokenizer.get_vocab()
        try:
            self._bytes = {token: bytes_of(token, surface) for surface, token in vocabulary.items()}
        except KeyError as error:
            raise ValueError(f"the vocabulary of {tokenizer.name_or_path!r} is not byte-level BPE") from error
        self._single = {byte: vocabulary[char] for char, byte in byte_of.items() if char in vocabulary}
        probe = b"a b" + bytes(sorted(self._single))
        if self.decode(self.encode(probe)) != probe:
            raise ValueError(f"the tokenizer of {tokenizer.name_or_path!r} changes text: it is not byte-level BPE")

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
