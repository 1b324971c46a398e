"""The text of a request, which ends before the first of its stop texts."""

from __future__ import annotations

from collections.abc import Sequence


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
        if places := [at for stop in self._stops if (at := text.find(stop)) >= 0]:
            self.stopped, self._withheld = True, ""
            return text[: min(places)]
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
