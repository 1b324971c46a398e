"""Checks of a model's config.json: it must describe a causal text model with unquantized weights that vLLM serves."""

from __future__ import annotations

import json
from pathlib import Path

import transformers
from transformers import CONFIG_MAPPING, MODEL_FOR_CAUSAL_LM_MAPPING, PretrainedConfig, PreTrainedModel

from tandem.models.loading import load_config
from tandem.models.logit_transform import logit_transform
from tandem.models.served import served_architectures
from tandem.models.unusable import UnusableModel, refusing

_CONTEXT_KEYS = (
    "max_position_embeddings",
    "n_positions",
    "max_seq_len",
    "seq_length",
    "max_sequence_length",
    "max_seq_length",
    "seq_len",
)
"""The names under which vLLM looks for the context length."""


def read_configuration(directory: Path) -> PretrainedConfig:
    """Read config.json of `directory`. Raises `UnusableModel` when it is damaged or describes a model that cannot be used."""
    with refusing("config.json cannot be used", "correct it, or copy the model again"):
        model_type = json.loads((directory / "config.json").read_text(encoding="utf-8"))["model_type"]
        known = model_type in CONFIG_MAPPING
    if not known:
        raise UnusableModel(
            f"transformers {transformers.__version__} has no model_type={model_type}, and code that the model brings along "
            "(auto_map) is never run; choose a model of a type that it has"
        )
    with refusing("config.json cannot be used", "correct it, or copy the model again"):
        config = load_config(directory)
    if getattr(config, "quantization_config", None) or (directory / "hf_quant_config.json").is_file():
        settings = getattr(config, "quantization_config", None) or {}
        method = settings.get("quant_method", "a quantized format") if isinstance(settings, dict) else settings.quant_method
        raise UnusableModel(
            f"its weights are quantized (quantization_config: {method}), and the learner's weights could not be loaded into "
            "such engines; choose the model in float32, float16 or bfloat16"
        )
    if config.get_text_config() is not config:
        raise UnusableModel(
            f"model_type={config.model_type} wraps a text model (text_config) with encoders of images or sound; save "
            "its language model alone by python launch/text_model.py MODEL FOLDER, and train that"
        )
    if config.is_encoder_decoder:
        raise UnusableModel(f"model_type={config.model_type} is an encoder-decoder; choose a decoder-only language model")
    return config


def causal_lm_class(config: PretrainedConfig) -> type[PreTrainedModel]:
    """Return the model class that learner and engines load. Raises `UnusableModel` when there is none."""
    if type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        raise UnusableModel(
            f"model_type={config.model_type} is not a causal language model in transformers {transformers.__version__}; choose "
            "a model whose architecture ends in ForCausalLM"
        )
    model_class: type[PreTrainedModel] = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
    declared = config.architectures or []
    if not isinstance(declared, list) or [*declared[:1]] != [model_class.__name__]:
        raise UnusableModel(
            f"architectures={declared} in config.json, but a language model of model_type={config.model_type} is "
            f"{model_class.__name__}; an encoder, a classifier or a bare model has no head that writes: choose a causal "
            "language model, or save this one from AutoModelForCausalLM"
        )
    served = served_architectures()
    if served is not None and model_class.__name__ not in served and not model_class.is_backend_compatible():
        raise UnusableModel(f"the installed vLLM has no {model_class.__name__}; choose a model that vLLM serves")
    return model_class


def check_logits(config: PretrainedConfig) -> None:
    """Raise `UnusableModel` for a model whose logits are neither its head's output nor that output scaled or capped."""
    try:
        logit_transform(config)
    except ValueError as error:
        raise UnusableModel(f"{config.model_type}: {error}; choose another model") from error


def key_heads(config: PretrainedConfig) -> int:
    """Return the number of heads for keys and values, which several attention heads may share."""
    return getattr(config, "num_key_value_heads", None) or config.num_attention_heads


def attention_window(config: PretrainedConfig) -> int:
    """Return the tokens that a layer with sliding-window attention attends to; 0: no layer has such attention."""
    kinds = getattr(config, "layer_types", None)
    if kinds and "sliding_attention" not in kinds:
        return 0
    return getattr(config, "sliding_window", None) or 0


def context_length(config: PretrainedConfig) -> int | None:
    """Return the context length in tokens; None when positions have no limit (ALiBi).

    Raises `UnusableModel` when a limit is no positive integer.
    """
    limits = {key: value for key in _CONTEXT_KEYS if (value := getattr(config, key, None)) is not None}
    for key, value in limits.items():
        if not isinstance(value, int) or value < 1:
            raise UnusableModel(f"{key}={value!r} in config.json; it must be a positive integer")
    return min(limits.values(), default=None)
