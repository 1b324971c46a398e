"""The two authors of a run: their models, and the vocabulary they share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from transformers import AutoConfig, AutoTokenizer, GenerationConfig, PreTrainedTokenizerBase

from tandem.config import Config, ConfigError
from tandem.schedule import boundary_table
from tandem.schedules import boundary_rule
from tandem.zoo import base_model, check_same_tokenizer, junior_model, sentinel_token_id


@dataclass(frozen=True)
class Authors:
    """The senior's base model, the junior, and what both engines and the learner must agree on."""

    senior: Path
    junior: Path
    tokenizer: PreTrainedTokenizerBase
    vocabulary: int
    """the width of the models' logits"""
    eos_ids: tuple[int, ...]
    sentinel: int
    """the token that ends a turn inside an engine and never occurs in text"""
    boundaries: np.ndarray
    """uint8 [vocabulary], 1 where the schedule redraws the author"""
    context: int
    """the longest text, prompt included, that a run needs and both models can read"""


def load_authors(config: Config) -> Authors:
    """Finds, builds or converts the models, and checks that they can write one text together.

    Raises `ConfigError` when a model cannot be had, when the tokenizers differ, or when a model's context is too short.
    """
    senior = base_model(config.model, config.cache_path)
    junior = junior_model(config.model, senior)
    tokenizer = AutoTokenizer.from_pretrained(senior)
    models = {"model": AutoConfig.from_pretrained(senior)}
    if junior != senior:
        check_same_tokenizer(tokenizer, AutoTokenizer.from_pretrained(junior))
        models["model.junior_path"] = AutoConfig.from_pretrained(junior)
    budget = max(config.rollout.sampling.max_tokens, config.eval.sampling.max_tokens)
    context = config.data.max_prompt_tokens + budget + 1
    for key, model in models.items():
        if model.max_position_embeddings < context:
            raise ConfigError(
                f"{key}: its context is {model.max_position_embeddings} tokens, but data.max_prompt_tokens="
                f"{config.data.max_prompt_tokens} and max_tokens={budget} need {context}; lower one of them"
            )
    vocabulary = max(model.vocab_size for model in models.values())
    rule = boundary_rule(config)
    try:
        boundaries = boundary_table(tokenizer, rule, vocabulary)
    except ValueError as error:
        raise ConfigError(f"schedule.name={config.schedule.name}: {error}") from error
    return Authors(
        senior=senior,
        junior=junior,
        tokenizer=tokenizer,
        vocabulary=vocabulary,
        eos_ids=_eos_ids(senior, tokenizer),
        sentinel=sentinel_token_id(tokenizer, min(model.vocab_size for model in models.values()), config.model.sentinel),
        boundaries=boundaries,
        context=context,
    )


def _eos_ids(model: Path, tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """The ids that end a text: the tokenizer's, and those the model's generation configuration adds."""
    ids = {tokenizer.eos_token_id}
    if (model / "generation_config.json").is_file():
        declared = GenerationConfig.from_pretrained(model).eos_token_id
        ids |= set(declared) if isinstance(declared, list) else {declared}
    ids.discard(None)
    if not ids:
        raise ConfigError(f"model: {model} declares no end-of-sequence token, so that no rollout could end")
    return tuple(sorted(ids))
