"""Which models several ranks can compute together, each a part of every sequence (`learner.sequence_parallel`)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from transformers import PretrainedConfig

from tandem.models.configuration import key_heads
from tandem.models.unusable import UnusableModel

MODEL_TYPES = frozenset(
    (
        *("cohere", "cohere2", "gemma3_text", "gpt2", "gpt_neox", "granite", "llama", "mistral", "mixtral", "olmo2", "opt"),
        *("phi3", "qwen2", "qwen3", "qwen3_moe", "smollm3", "stablelm"),
    )
)
"""The models that are known to look at other tokens in attention alone, and to compute it by transformers' interface."""
UNEVEN_ROPE = {"dynamic", "longrope"}
"""Rotary embeddings that depend on the length of the part."""


def check_sequence_parallel(config: PretrainedConfig, size: int) -> None:
    """Raise `UnusableModel` unless `size` ranks can compute the model of `config` together."""
    if size == 1:
        return
    name = f"learner.sequence_parallel={size}"
    if config.model_type not in MODEL_TYPES:
        known = ", ".join(sorted(MODEL_TYPES))
        raise UnusableModel(f"{name}: models of type {config.model_type} cannot be split; choose 1, or one of {known}")
    if uneven := UNEVEN_ROPE.intersection(_rope_types(config)):
        raise UnusableModel(f"{name}: rotary embeddings of type {', '.join(sorted(uneven))} cannot be split; choose 1")
    if size not in (sizes := _even_splits(config)):
        raise UnusableModel(
            f"{name}: it has {config.num_attention_heads} attention heads, {key_heads(config)} of them for keys; choose one of "
            f"{', '.join(map(str, sizes))}"
        )


def sequence_splits(config: PretrainedConfig) -> tuple[int, ...]:
    """Return the numbers of ranks, 1 among them, that can compute the model of `config` together."""
    known = config.model_type in MODEL_TYPES and not UNEVEN_ROPE.intersection(_rope_types(config))
    return tuple(_even_splits(config)) if known else (1,)


def _even_splits(config: PretrainedConfig) -> list[int]:
    """Return the numbers of ranks that can each take equally many attention heads, and the key heads of these."""
    heads, keys = config.num_attention_heads, key_heads(config)
    return [each for each in range(1, heads + 1) if heads % each == 0 and (keys % each == 0 or each % keys == 0)]


def _rope_types(config: PretrainedConfig) -> Iterator[Any]:
    """Yield the types of rotary embeddings, of which some models have one for each type of layer."""
    parameters = getattr(config, "rope_parameters", None) or {}
    for each in (parameters, *parameters.values()):
        if isinstance(each, dict):
            yield each.get("rope_type")
