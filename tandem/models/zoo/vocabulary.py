"""Comparison of the vocabularies of two authors."""

from __future__ import annotations

from transformers import PreTrainedTokenizerBase


def tokenizer_difference(senior: PreTrainedTokenizerBase, junior: PreTrainedTokenizerBase) -> str:
    """Describe the first difference between the vocabularies of two authors.

    Return an empty text if both tokenizers give every token the same id and have the same begin and end tokens.
    """
    senior_ids, junior_ids = senior.get_vocab(), junior.get_vocab()
    if senior_ids != junior_ids:
        tokens = senior_ids.keys() | junior_ids.keys()
        differing = sorted(token for token in tokens if senior_ids.get(token) != junior_ids.get(token))
        examples = ", ".join(f"{token!r} is {senior_ids.get(token)} and {junior_ids.get(token)}" for token in differing[:3])
        return f"the junior's tokenizer differs from the senior's in {len(differing)} tokens ({examples})"
    for name in ("bos_token_id", "eos_token_id"):
        if getattr(senior, name) != getattr(junior, name):
            return f"{name} is {getattr(senior, name)} for the senior, {getattr(junior, name)} for the junior"
    return ""
