"""Which models can write together."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tandem.config.checks.bounds import DTYPES
from tandem.models.zoo.recipes import RECIPES, ZOO
from tandem.schedules import SCHEDULES

if TYPE_CHECKING:
    from tandem.config.schema import Config, ModelConfig

SHAPE = {
    "hidden_size": "needed",
    "num_hidden_layers": "needed",
    "num_attention_heads": "needed",
    "num_key_value_heads": "optional",
    "head_dim": "optional",
    "intermediate_size": "needed",
    "vocab_size": "optional",
    "tie_word_embeddings": "optional",
}
"""The keys of `model.shape`, those of a Qwen3 model's config.json that say how large it is."""


def author_problems(config: Config) -> Iterator[str]:
    """Yield what is wrong with the senior's model and the juniors."""
    yield from _model_problems(config.model)
    if not config.junior:
        yield "junior=[]: name at least one junior; [self] is the senior's base model"
    for index, name in enumerate(config.junior):
        if not name.strip():
            yield f"junior[{index}] is empty: name a Hugging Face directory, a hub id, zoo:RECIPE or self"
        if name.startswith(ZOO) and name.removeprefix(ZOO) not in RECIPES:
            yield f"junior[{index}]={name}: the recipes are {', '.join(RECIPES)}"
    for key in ("junior_weights", "junior_dtypes"):
        if (value := getattr(config, key)) and len(value) != len(config.junior):
            yield f"{key}={value}: give one for each of the {len(config.junior)} juniors, or none"
    if not (all(weight > 0 for weight in config.junior_weights) and sum(config.junior_weights) < math.inf):
        yield f"junior_weights={config.junior_weights}: give numbers above 0"
    if not set(config.junior_dtypes) <= set(DTYPES):
        yield f"junior_dtypes={config.junior_dtypes}: choose {' or '.join(DTYPES)}"
    if config.junior_translation:
        yield from _translation_problems(config)


def _model_problems(model: ModelConfig) -> Iterator[str]:
    if model.source == "zoo" and model.recipe not in RECIPES:
        yield f"model.recipe={model.recipe}: the recipes are {', '.join(RECIPES)}"
    if not model.shape:
        return
    if unknown := [key for key in model.shape if key not in SHAPE]:
        yield f"model.shape.{unknown[0]}={model.shape[unknown[0]]}: there is no such key; choose among {', '.join(SHAPE)}"
    if missing := [key for key, need in SHAPE.items() if need == "needed" and key not in model.shape]:
        yield f"model.shape={model.shape}: it lacks {', '.join(missing)}; take them from the model's config.json"
    for key, value in model.shape.items():
        if key == "tie_word_embeddings" and value not in (0, 1):
            yield f"model.shape.{key}={value}: give 1 if the output embeddings are the input's, else 0"
        elif key != "tie_word_embeddings" and value < 1:
            yield f"model.shape.{key}={value}: give a number of at least 1"


def _translation_problems(config: Config) -> Iterator[str]:
    """Yield what a junior with another tokenizer rules out."""
    schedule = SCHEDULES.get(config.schedule.name)  # an unknown name has its own complaint
    if schedule and schedule.boundary == "none" and config.schedule.name != "solo":
        yield (
            f"schedule.name={config.schedule.name}: it passes the pen inside words, and a junior with another tokenizer "
            "(junior_translation=true) writes whole words or steps; choose word, step or alternate"
        )
    for index, handoff in enumerate(config.eval.handoff):
        named = SCHEDULES.get(handoff.name)
        if schedule and named and "handoff" in config.eval.measures and named.boundary != schedule.boundary:
            yield (
                f"eval.handoff[{index}].name={handoff.name}: a junior with another tokenizer (junior_translation=true) is "
                f"started for schedule.name={config.schedule.name}; choose the same kind"
            )
    for key in ("junior_token_loss_weight", "lambda_junior"):
        if value := getattr(config.algo, key):
            yield (
                f"algo.{key}={value:g}: a translated token (junior_translation=true) has no log-probability of its own; "
                "set it to 0"
            )
