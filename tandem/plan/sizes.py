"""How large a run's models are, from their configurations alone: no weights are read."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
from transformers import AutoModelForCausalLM, PretrainedConfig, Qwen3Config

from tandem.config import SELF, Config, ConfigError, ModelConfig
from tandem.models.loading import load_config
from tandem.zoo.recipes import RECIPES

ZOO_VOCABULARY = 160


@dataclass(frozen=True)
class ModelSize:
    """What memory depends on."""

    parameters: int
    layers: int
    hidden: int
    vocabulary: int
    kv_values: int
    """numbers that the KV cache keeps for one token"""


@dataclass(frozen=True)
class Sizes:
    """The models of a run; several juniors."""

    senior: ModelSize
    juniors: tuple[ModelSize, ...]


def model_sizes(config: Config) -> Sizes:
    """The sizes of the senior and every junior. Raises `ConfigError` when a model's configuration cannot be read."""
    senior = model_size(_shape(config.model))
    juniors = [senior if name == SELF else model_size(_read(name, "junior", "")) for name in config.junior]
    return Sizes(senior, tuple(juniors))


def model_size(shape: PretrainedConfig) -> ModelSize:
    """The size of a causal language model of that shape: its parameters are counted without memory for them."""
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(shape)
    heads = shape.num_attention_heads
    kv_heads = getattr(shape, "num_key_value_heads", None) or heads
    head = getattr(shape, "head_dim", None) or shape.hidden_size // heads
    return ModelSize(
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        layers=shape.num_hidden_layers,
        hidden=shape.hidden_size,
        vocabulary=shape.vocab_size,
        kv_values=2 * shape.num_hidden_layers * kv_heads * head,
    )


def _shape(model: ModelConfig) -> PretrainedConfig:
    if model.shape:
        return Qwen3Config(**model.shape | {"tie_word_embeddings": bool(model.shape.get("tie_word_embeddings", True))})
    if model.source == "zoo":
        return Qwen3Config(vocab_size=ZOO_VOCABULARY, tie_word_embeddings=True, **asdict(RECIPES[model.recipe].shape))
    return _read(model.path, "model.path", "; or give model.shape")


def _read(path: str, key: str, else_: str) -> PretrainedConfig:
    try:
        return load_config(path)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ConfigError(f"{key}={path}: a plan needs the model's config.json{else_}: {reason}") from error
