"""The text that each token of a sequence adds, where a character may span several tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tandem.tokenization.detokenizer import Detokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_LONGEST_CHARACTER = 4
"""In bytes of UTF-8; it spans at most as many tokens."""


def pieces(token_ids: Sequence[int], tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """Return the text that each of `token_ids` adds, special tokens by their names; joined they are the whole text.

    A character belongs to the token that completes it; the tokens that hold its first bytes add nothing.
    """
    detokenizer = Detokenizer(tokenizer, skip_special_tokens=False, longest=_LONGEST_CHARACTER)
    texts = [detokenizer.add(token) for token in token_ids]
    if texts:
        texts[-1] += detokenizer.end()
    return texts
