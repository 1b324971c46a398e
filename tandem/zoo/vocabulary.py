"""What the handoff asks of a tokenizer: a token that ends a turn, and whether two authors share their vocabulary."""

from __future__ import annotations

from transformers import PreTrainedTokenizerBase

from tandem.config import ConfigError
from tandem.zoo.tokenizer import HANDOFF


def sentinel_token_id(tokenizer: PreTrainedTokenizerBase, vocab_size: int, configured: str = "") -> int:
    """The id of the token that ends a turn inside the engines and never occurs in text.

    In this order: the token `configured` (`model.sentinel`); the zoo's own `<|handoff|>`; the first id that the model's
    `vocab_size` outputs have beyond the tokenizer's; the last special token without a role of its own. Raises `ConfigError`
    when a configured token does not exist or has a role, and when there is none to choose.
    """
    vocabulary = tokenizer.get_vocab()
    if configured:
        if configured not in vocabulary:
            raise ConfigError(f"model.sentinel={configured}: there is no such token; name one that no text contains")
        if _has_role(tokenizer, configured):
            raise ConfigError(f"model.sentinel={configured}: this token occurs in texts; name one that no text contains")
        return vocabulary[configured]
    if HANDOFF in vocabulary:
        return vocabulary[HANDOFF]
    beyond = max(vocabulary.values()) + 1
    if beyond < vocab_size:
        return beyond
    idle = [token for token in _special_tokens(tokenizer) if not _has_role(tokenizer, token)]
    if not idle:
        raise ConfigError(
            f"model.sentinel is empty and the tokenizer of {tokenizer.name_or_path} has no unused special token; "
            "name a token that no text contains"
        )
    return max(vocabulary[token] for token in idle)


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


def _special_tokens(tokenizer: PreTrainedTokenizerBase) -> set[str]:
    added = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
    return added | set(tokenizer.all_special_tokens)


def _has_role(tokenizer: PreTrainedTokenizerBase, token: str) -> bool:
    """Whether a token begins, ends, pads or replaces text, or is part of the chat template."""
    named = {tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token, tokenizer.unk_token}
    return token in named or token in (tokenizer.chat_template or "")
