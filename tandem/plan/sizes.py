"""The sizes of a run's models, from their configurations alone: no weights are read."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

import torch
from transformers import AutoModelForCausalLM, PretrainedConfig, PreTrainedModel, Qwen3Config

from tandem.config.black_box import OPENAI
from tandem.config.learner import LoraConfig
from tandem.config.model import ModelConfig
from tandem.config.schema import SELF, Config, ConfigError
from tandem.models.configuration import attention_window, key_heads, read_configuration
from tandem.models.linear_layers import adapted_layers, kind, layer_shape
from tandem.models.sequence_parallel import check_sequence_parallel, sequence_splits
from tandem.models.unusable import UnusableModel
from tandem.models.zoo.hub import configuration_directory
from tandem.models.zoo.recipes import RECIPES, VOCAB_SIZE, ZOO, Recipe
from tandem.models.zoo.smollm2 import SHAPE


@dataclass(frozen=True)
class ModelSize:
    """The dimensions of a model that determine its memory."""

    parameters: int
    layers: int
    hidden: int
    vocabulary: int
    kv_values: int
    """numbers per token in the KV cache"""
    adapter: int = 0
    """parameters of the low-rank adapter; 0: the model gets none"""
    adapter_inputs: int = 0
    """numbers per token that the adapter's layers read, together"""
    window: int = 0
    """tokens that sliding-window attention attends to; 0: there is none"""
    sequence_splits: tuple[int, ...] = (1,)
    """the numbers of ranks that can split its sequences"""


@dataclass(frozen=True)
class Sizes:
    """The sizes of the senior and of every junior."""

    senior: ModelSize
    juniors: tuple[ModelSize, ...]


def model_sizes(config: Config) -> Sizes:
    """Return the sizes of the senior and every junior. No model is built; from the hub only config.json is downloaded.

    Raises `ConfigError` when a model's configuration is not available, when it lacks the layers that are to be adapted, and
    when `learner.sequence_parallel` ranks cannot split its sequences.
    """
    shape = _shape(config.model)
    junior = model_size(shape)
    try:
        check_sequence_parallel(shape, config.learner.sequence_parallel)
    except UnusableModel as error:
        raise ConfigError(str(error)) from error
    juniors = [
        junior
        if name == SELF or name.startswith(OPENAI)
        else model_size(_junior_shape(name, f"junior[{index}]", config.model.recipe_seed))
        for index, name in enumerate(config.junior)
    ]
    return Sizes(_with_adapter(junior, shape, config.learner.lora), tuple(juniors))


def model_size(shape: PretrainedConfig) -> ModelSize:
    """Return the size of a causal language model with `shape`. It is built on the meta device, without memory."""
    model = _meta_model(shape)
    head = getattr(shape, "head_dim", None) or shape.hidden_size // shape.num_attention_heads
    return ModelSize(
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        layers=shape.num_hidden_layers,
        hidden=shape.hidden_size,
        vocabulary=shape.vocab_size,
        kv_values=2 * shape.num_hidden_layers * key_heads(shape) * head,
        window=attention_window(shape),
        sequence_splits=sequence_splits(shape),
    )


def _with_adapter(size: ModelSize, shape: PretrainedConfig, lora: LoraConfig) -> ModelSize:
    """Return `size` with that of the adapter of `lora`. Raises `ConfigError` for layers that the model does not have."""
    if not lora.rank:
        return size
    try:
        shapes = [layer_shape(layer) for layer in adapted_layers(_meta_model(shape), lora.targets).values()]
    except UnusableModel as error:
        raise ConfigError(str(error)) from error
    inputs = sum(inner for inner, _ in shapes)
    return replace(size, adapter=lora.rank * (inputs + sum(outer for _, outer in shapes)), adapter_inputs=inputs)


def adapted_kinds(config: Config) -> list[str]:
    """Return the names of the layers that get an adapter, as in `learner.lora.targets`."""
    return sorted({kind(name) for name in adapted_layers(_meta_model(_shape(config.model)), config.learner.lora.targets)})


def _meta_model(shape: PretrainedConfig) -> PreTrainedModel:
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(shape)


def _shape(model: ModelConfig) -> PretrainedConfig:
    if model.shape:
        return Qwen3Config(**model.shape | {"tie_word_embeddings": bool(model.shape.get("tie_word_embeddings", True))})
    match model.source:
        case "zoo":
            return _zoo_shape(RECIPES[model.recipe])
        case "smollm2":
            return SHAPE
    return _read(model.path, "model.path", "; or give model.shape, of which the plan is made without that file")


def _junior_shape(name: str, key: str, recipe_seed: int) -> PretrainedConfig:
    if name.startswith(ZOO):
        return _zoo_shape(replace(RECIPES[name.removeprefix(ZOO)], seed=recipe_seed))
    return _read(name, key, "")


def _zoo_shape(recipe: Recipe) -> PretrainedConfig:
    return Qwen3Config(vocab_size=VOCAB_SIZE, tie_word_embeddings=True, **asdict(recipe.built_shape))


def _read(path: str, key: str, or_else: str) -> PretrainedConfig:
    try:
        return read_configuration(configuration_directory(path, key))
    except ConfigError as error:
        raise ConfigError(f"{error}{or_else}") from error
    except UnusableModel as error:
        raise ConfigError(f"{key}={path}: {error}") from error
