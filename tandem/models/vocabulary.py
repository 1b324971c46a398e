"""What a model's tokenizer must fit: the rows of the embedding, and a token that ends texts."""

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
        tokenizer.encode("1 + 1 = 2")  # a damaged one may load and then not work
    return tokenizer


def check_rows(tokenizer: PreTrainedTokenizerBase, rows: int) -> None:
    """Raise `UnusableModel` when text or chat template can give a token that the embedding of `rows` rows does not have.

    A special token beyond the rows that nothing names (Gemma 3 has one for images) is no fault: no prompt holds it.
    """
    named = {tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token, tokenizer.unk_token, tokenizer.sep_token}
    template = str(tokenizer.chat_template or "")
    special = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
    beyond = sorted(
        (token, surface)
        for surface, token in tokenizer.get_vocab().items()
        if token >= rows and (surface not in special or surface in named or surface in template)
    )
    if beyond:
        shown = ", ".join(f"{surface!r} is {token}" for token, surface in beyond[:3])
        raise UnusableModel(
            f"its tokenizer has {len(beyond)} tokens ({shown}) that its embedding of {rows} rows has not; resize the model "
            "(resize_token_embeddings) and save it again, or take the tokenizer that belongs to it"
        )


def end_tokens(directory: Path, tokenizer: PreTrainedTokenizerBase, rows: int) -> tuple[int, ...]:
    """Return the ids that end a text: the tokenizer's, and those that generation_config.json adds. There may be none.

    Raises `UnusableModel` for an id that the model does not have, and for a generation_config.json that cannot be read.
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
    return tuple(sorted(ids))
