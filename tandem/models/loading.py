"""Loading of configurations, tokenizers and models, without running code of the model's directory and without prompts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

_OWN_CODE_ONLY: dict[str, Any] = {"trust_remote_code": False}
"""For every `from_pretrained`: without it, transformers prompts on the terminal and waits for an answer."""


def load_config(path: str | Path) -> PretrainedConfig:
    """Load the configuration of the model at `path`. Raises what transformers raises."""
    return AutoConfig.from_pretrained(path, **_OWN_CODE_ONLY)


def load_tokenizer(path: str | Path) -> PreTrainedTokenizerBase:
    """Load the tokenizer at `path`. Raises what transformers raises."""
    return AutoTokenizer.from_pretrained(path, **_OWN_CODE_ONLY)


def load_declared_model(path: str | Path, config: PretrainedConfig) -> PreTrainedModel | None:
    """Load the model at `path` by the class that `config` names, in its own type; None if transformers has no such class.

    Raises what transformers raises.
    """
    model_class: Any = getattr(transformers, (config.architectures or ["none"])[0], None)
    return model_class and model_class.from_pretrained(path, config=config, dtype="auto", **_OWN_CODE_ONLY)


def load_language_model(path: str | Path, dtype: torch.dtype, config: PretrainedConfig | None = None) -> PreTrainedModel:
    """Load the causal language model at `path`, with `config` if given. Raises what transformers raises."""
    config = config or load_config(path)
    # The other implementation ignores that attention scores are capped (Gemma 2).
    attention = "eager" if getattr(config, "attn_logit_softcapping", None) else None
    return AutoModelForCausalLM.from_pretrained(
        path, config=config, dtype=dtype, attn_implementation=attention, **_OWN_CODE_ONLY
    )
