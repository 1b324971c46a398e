"""The word boundaries of the published model, whose tokenizer is on the hub."""

from __future__ import annotations

import pytest
from transformers import AutoTokenizer

from tandem.config.schema import ConfigError
from tandem.models.zoo.hub import model_directory
from tandem.schedule import boundary_table

MODEL = "Qwen/Qwen3-4B-Instruct-2507"
TOKENIZER_FILES = ["config.json", "tokenizer*.json", "vocab.json", "merges.txt"]


def test_qwen3_has_the_published_number_of_word_boundaries() -> None:
    try:
        folder = model_directory(MODEL, files=TOKENIZER_FILES)
    except ConfigError as error:
        pytest.skip(f"the number of word boundaries is not checked, for want of the tokenizer of {MODEL}: {error}")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert boundary_table(tokenizer, "word", len(tokenizer)).sum() == 53_021
