"""Loading of configurations, tokenizers and models: code that a directory brings along never runs, and no question is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

_OWN_CODE_ONLY: dict[str, Any] = {"trust_remote_code": False}
"""For every `from_pretrained`: left out, transformers asks a question on the terminal and waits for the answer."""


def load_config(path: str | Path) -> PretrainedConfig:
    """Load the configuration of the model at `path`. Raises what transformers raises."""
    return AutoConfig.from_pretrained(path, **_OWN_CODE_ONLY)


def load_tokenizer(path: str | Path) -> PreTrainedTokenizerBase:
    """Load the tokenizer at `path`. Raises what transformers raises."""
    return AutoTokenizer.from_pretrained(path, **_OWN_CODE_ONLY)


def load_language_model(path: str | Path, dtype: torch.dtype, config: PretrainedConfig | None = None) -> PreTrainedModel:
    """Load the causal language model at `path`, with `config` instead of its own if given. Raises what transformers raises."""
    return AutoModelForCausalLM.from_pretrained(path, config=config or load_config(path), dtype=dtype, **_OWN_CODE_ONLY)
