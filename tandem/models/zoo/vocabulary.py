"""Whether two authors share their vocabulary."""

from __future__ import annotations

from transformers import PreTrainedTokenizerBase


def tokenizer_difference(senior: PreTrainedTokenizerBase, junior: PreTrainedTokenizerBase) -> str:
    """What keeps two authors from sharing tokens, for a reader; empty if both tokenizers give every token the same id and begin
    and end texts with the same tokens."""
    ours, theirs = senior.get_vocab(), junior.get_vocab()
    if ours != theirs:
        differing = sorted(token for token in ours.keys() | theirs.keys() if ours.get(token) != theirs.get(token))
        shown = ", ".join(f"{token!r} is {ours.get(token)} and {theirs.get(token)}" for token in differing[:3])
        return f"the junior's tokenizer differs from the senior's in {len(differing)} tokens ({shown})"
    for name in ("bos_token_id", "eos_token_id"):
        if getattr(senior, name) != getattr(junior, name):
            return f"{name} is {getattr(senior, name)} for the senior, {getattr(junior, name)} for the junior"
    return ""
