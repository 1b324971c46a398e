"""The text that each token of a sequence adds, where a character may span several tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_LONGEST_CHARACTER = 4
"""In bytes of UTF-8; it spans at most as many tokens."""
_UNFINISHED = "\ufffd"
"""How a tokenizer decodes bytes that are not a complete character."""


def pieces(token_ids: Sequence[int], tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """Return the text that each of `token_ids` adds, special tokens by their names; joined they are the whole text.

    A character belongs to the token that completes it; the tokens that hold its first bytes add nothing.
    """
    ids, texts = list(token_ids), []
    # A token's text depends on the token before it (a leading space may be lost), so the previous token is decoded too.
    begin, shown = 0, 0
    for stop in range(1, len(ids) + 1):
        before, after = tokenizer.decode(ids[begin:shown]), tokenizer.decode(ids[begin:stop])
        if after.endswith(_UNFINISHED) and stop - shown < _LONGEST_CHARACTER and stop < len(ids):
            texts.append("")
            continue
        texts.append(after[len(before) :])
        begin, shown = shown, stop
    return texts
