"""The text of tokens that arrive one by one, and the texts at which it ends."""

from __future__ import annotations

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

_INCOMPLETE = "\N{REPLACEMENT CHARACTER}"
"""How a tokenizer decodes the first bytes of a character."""


class Detokenizer:
    """Decodes tokens one by one; a character whose bytes are spread over tokens comes with the last of them."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._window: list[int] = []
        """the last tokens whose text was returned, and those after them"""
        self._returned = 0
        """how many tokens of the window were returned"""

    def add(self, token: int) -> str:
        """Return the text that is complete with `token`; empty if none is."""
        self._window.append(token)
        text = self._rest()
        if text.endswith(_INCOMPLETE):
            return ""
        self._window, self._returned = self._window[self._returned :], len(self._window) - self._returned
        return text

    def end(self) -> str:
        """Return the rest of the text."""
        return self._rest()

    def _rest(self) -> str:
        return self._decode(self._window)[len(self._decode(self._window[: self._returned])) :]

    def _decode(self, tokens: Sequence[int]) -> str:
        return self._tokenizer.decode(tokens, skip_special_tokens=True)


class StoppedText:
    """A text that ends before the first of `stops`; it is withheld while it may be the beginning of one."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = stops
        self._withheld = ""
        self.stopped = False

    def add(self, text: str) -> str:
        """Return what is sure to belong to the text after `text` was written; nothing more once it has `stopped`."""
        if self.stopped:
            return ""
        text = self._withheld + text
        if found := [at for stop in self._stops if (at := text.find(stop)) >= 0]:
            self.stopped, self._withheld = True, ""
            return text[: min(found)]
        length = max((_overlap(text, stop) for stop in self._stops), default=0)
        sure = len(text) - length
        self._withheld = text[sure:]
        return text[:sure]

    def end(self) -> str:
        """Return what was withheld of a text that has ended."""
        return self._withheld


def _overlap(text: str, stop: str) -> int:
    """Return the length of the longest end of `text` that begins `stop`."""
    lengths = range(min(len(text), len(stop) - 1), 0, -1)
    return next((length for length in lengths if stop.startswith(text[-length:])), 0)
