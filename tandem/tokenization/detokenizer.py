"""Text from tokens that arrive one by one, where a character may span several tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_UNFINISHED = "\N{REPLACEMENT CHARACTER}"
"""How a tokenizer decodes bytes that are not a complete character."""


class Detokenizer:
    """Decodes tokens one by one; a character whose bytes are spread over tokens comes with the last of them.

    Special tokens are left out if `skip_special_tokens`. Bytes that `longest` tokens do not complete to a character are
    returned as they are; None: only at the end.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, *, skip_special_tokens: bool = True, longest: int | None = None
    ) -> None:
        self._tokenizer, self._skip, self._longest = tokenizer, skip_special_tokens, longest
        self._window: list[int] = []
        """the last tokens whose text was returned, and those after them: a token's text depends on the one before it"""
        self._returned = 0
        """how many tokens of the window were returned"""

    def add(self, token: int) -> str:
        """Return the text that is complete with `token`; empty if none is."""
        self._window.append(token)
        text = self._rest()
        waiting = len(self._window) - self._returned
        if text.endswith(_UNFINISHED) and (self._longest is None or waiting < self._longest):
            return ""
        self._window, self._returned = self._window[self._returned :], waiting
        return text

    def end(self) -> str:
        """Return the rest of the text."""
        return self._rest()

    def _rest(self) -> str:
        return self._decode(self._window)[len(self._decode(self._window[: self._returned])) :]

    def _decode(self, tokens: Sequence[int]) -> str:
        return self._tokenizer.decode(tokens, skip_special_tokens=self._skip)
