"""Checks of a model's tokenizer: its tokens must fit the embedding. And the tokens that end a text."""

from __future__ import annotations

from pathlib import Path

from transformers import GenerationConfig, PreTrainedTokenizerBase

from tandem.models.loading import load_tokenizer
from tandem.models.unusable import UnusableModel, refusing

TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json")


def read_tokenizer(directory: Path) -> PreTrainedTokenizerBase:
    """Load the tokenizer in `directory`. Raises `UnusableModel` when there is none or it is damaged."""
    if not any((directory / name).is_file() for name in TOKENIZER_FILES):
        raise UnusableModel("there are no tokenizer files; save the model's tokenizer there with save_pretrained")
    with refusing("its tokenizer cannot be loaded", "save the model's tokenizer there again with save_pretrained"):
        tokenizer = load_tokenizer(directory)
        tokenizer.encode("1 + 1 = 2")  # a damaged tokenizer may load and fail here
    return tokenizer


def check_rows(tokenizer: PreTrainedTokenizerBase, rows: int) -> None:
    """Raise `UnusableModel` when a text or the chat template can produce a token beyond the `rows` rows of the embedding.

    A special token beyond the rows is allowed if neither a role (bos, eos, ...) nor the chat template uses it, such as Gemma
    3's token for images: no prompt holds it.
    """
    roles = {tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token, tokenizer.unk_token, tokenizer.sep_token}
    template = str(tokenizer.chat_template or "")
    special = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
    beyond = sorted(
        (token, surface)
        for surface, token in tokenizer.get_vocab().items()
        if token >= rows and (surface not in special or surface in roles or surface in template)
    )
    if beyond:
        examples = ", ".join(f"{surface!r} is {token}" for token, surface in beyond[:3])
        raise UnusableModel(
            f"its tokenizer has {len(beyond)} tokens ({examples}) that its embedding of {rows} rows has not; resize the model "
            "(resize_token_embeddings) and save it again, or take the tokenizer that belongs to it"
        )


def end_tokens(directory: Path, tokenizer: PreTrainedTokenizerBase, rows: int) -> tuple[int, ...]:
    """Return the token ids that end a text: the tokenizer's own first, then those of generation_config.json. May be empty.

    Raises `UnusableModel` for an id outside the vocabulary of `rows` tokens, and when generation_config.json cannot be read.
    """
    declared = None
    if (directory / "generation_config.json").is_file():
        with refusing("generation_config.json cannot be used", "correct or remove it"):
            declared = GenerationConfig.from_pretrained(directory).eos_token_id
    ids = {tokenizer.eos_token_id, *(declared if isinstance(declared, list) else [declared])} - {None}
    for token in ids:
        if not isinstance(token, int) or not 0 <= token < rows:
            raise UnusableModel(
                f"eos_token_id={token!r} is no token of a vocabulary of {rows}; correct generation_config.json or the tokenizer"
            )
    return tuple(sorted(ids, key=lambda token: (token != tokenizer.eos_token_id, token)))
