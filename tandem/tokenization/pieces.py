"""The text that each token of a sequence adds, where a character may be spread over several tokens."""

from __future__ import annotations

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

_LONGEST_CHARACTER = 4
"""Bytes of UTF-8, and so tokens at most."""
_UNFINISHED = "\ufffd"
"""How a tokenizer decodes bytes that are no character (yet)."""


def pieces(token_ids: Sequence[int], tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """What each of `token_ids` adds to the text, special tokens by their names; together they are the text.

    A character belongs to the token that completes it: the tokens before it that hold its first bytes add nothing.
    """
    ids, texts = list(token_ids), []
    # How a token reads depends on the one before it (a space at the beginning may be lost), so that one more is decoded.
    begin, shown = 0, 0
    for stop in range(1, len(ids) + 1):
        before, after = tokenizer.decode(ids[begin:shown]), tokenizer.decode(ids[begin:stop])
        if after.endswith(_UNFINISHED) and stop - shown < _LONGEST_CHARACTER and stop < len(ids):
            texts.append("")
            continue
        texts.append(after[len(before) :])
        begin, shown = shown, stop
    return texts
