"""Check which models write together."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tandem.config.black_box import named_black_box
from tandem.config.evaluation import MODEL_MEASURES
from tandem.models.zoo.recipes import RECIPES, ZOO
from tandem.schedule import SCHEDULES, all_schedules

if TYPE_CHECKING:
    from tandem.config.model import ModelConfig
    from tandem.config.schema import Config

REQUIRED_SHAPE = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
SHAPE = (*REQUIRED_SHAPE, "num_key_value_heads", "head_dim", "vocab_size", "tie_word_embeddings")
"""The keys of `model.shape`: those of a Qwen3 model's config.json that determine its size."""


def model_errors(config: Config) -> Iterator[str]:
    """Yield the errors in the settings of the senior's model and of the juniors."""
    if config.model.source == "zoo" and config.model.recipe not in RECIPES:
        yield f"model.recipe={config.model.recipe}: the recipes are {', '.join(RECIPES)}"
    if config.model.shape:
        yield from _shape_errors(config.model)
    yield from _junior_errors(config)
    yield from _black_box_errors(config)
    if config.junior_translation:
        yield from _translation_errors(config)
    if config.speculative:
        yield from _draft_errors(config)


def _shape_errors(model: ModelConfig) -> Iterator[str]:
    if unknown := [key for key in model.shape if key not in SHAPE]:
        yield f"model.shape.{unknown[0]}={model.shape[unknown[0]]}: there is no such key; choose among {', '.join(SHAPE)}"
    if missing := [key for key in REQUIRED_SHAPE if key not in model.shape]:
        yield f"model.shape={model.shape}: it lacks {', '.join(missing)}; take them from the model's config.json"
    for key, value in model.shape.items():
        if key == "tie_word_embeddings" and value not in (0, 1):
            yield f"model.shape.{key}={value}: give 1 if the output embeddings are the input embeddings, else 0"
        elif key != "tie_word_embeddings" and value < 1:
            yield f"model.shape.{key}={value}: give a number of at least 1"


def _junior_errors(config: Config) -> Iterator[str]:
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
    if config.algo.kl_reference == "junior" and len(set(config.junior)) > 1:
        yield f"algo.kl_reference=junior: it is one model, and junior={config.junior} names several; name one, or choose base"
    if all(map(math.isfinite, config.junior_weights)) and math.isinf(sum(config.junior_weights)):
        yield f"junior_weights={config.junior_weights}: their sum is not finite; give smaller numbers"


def _black_box_errors(config: Config) -> Iterator[str]:
    """Yield the errors in the settings of a junior behind an API, and the settings that exclude it."""
    for index, name in enumerate(config.junior):
        try:
            box = named_black_box(name)
        except ValueError as error:
            yield f"junior[{index}]={name}: {error}; write 'junior=[\"openai:URL,MODEL\"]', in both pairs of quotes"
            return
        if box and len(config.junior) > 1:
            yield f"junior={config.junior}: a black box is the only junior; name it alone"
            return
        if box:
            yield from _unmeasurable(config, f"junior[{index}]={name}")


def _unmeasurable(config: Config, junior: str) -> Iterator[str]:
    """Yield the measures and schedules that the black box `junior` excludes."""
    if without := [measure for measure in config.eval.measures if measure in MODEL_MEASURES]:
        yield f"eval.measures={config.eval.measures}: {', '.join(without)} need the weights of {junior}; leave them out"
    for key, schedule in all_schedules(config).items():
        if key != "schedule" and schedule.name in SCHEDULES and SCHEDULES[schedule.name].boundary == "none":
            yield f"{key}.name={schedule.name}: {junior} writes whole words or steps; choose word, step or alternate"


def _draft_errors(config: Config) -> Iterator[str]:
    """Yield the settings that exclude a junior that drafts for the senior."""
    drafts = f"speculative={config.speculative}"
    if len(config.junior) > 1:
        yield f"junior={config.junior}: one junior drafts for the senior ({drafts}); name one"
    if config.junior_translation:
        yield f"junior_translation=true: a draft is in the senior's own tokens ({drafts}); leave out one of the two"
    if any(dtype != config.model.dtype for dtype in config.junior_dtypes):
        yield (
            f"junior_dtypes={config.junior_dtypes}: a draft is computed in model.dtype={config.model.dtype} ({drafts}); leave "
            "it out"
        )


def _translation_errors(config: Config) -> Iterator[str]:
    """Yield the settings that exclude a junior with another tokenizer."""
    training = config.schedule.name
    # Beside a senior that trains alone, the junior is started for words.
    boundary = "word" if training == "solo" else SCHEDULES[training].boundary if training in SCHEDULES else ""
    if boundary == "none":
        yield (
            f"schedule.name={training}: it passes the pen inside words, and a junior with another tokenizer "
            "(junior_translation=true) writes whole words or steps; choose word, step or alternate"
        )
    elif boundary and "handoff" in config.eval.measures:
        usable = [name for name, known in SCHEDULES.items() if known.boundary == boundary]
        for index, handoff in enumerate(config.eval.handoff):
            if handoff.name in SCHEDULES and handoff.name not in usable:
                yield (
                    f"eval.handoff[{index}].name={handoff.name}: a junior with another tokenizer (junior_translation=true) is "
                    f"started for schedule.name={training}; choose {' or '.join(usable)}"
                )
    for key in ("junior_token_loss_weight", "lambda_junior"):
        if value := getattr(config.algo, key):
            yield (
                f"algo.{key}={value:g}: the junior gives no log-probability for a translated token "
                "(junior_translation=true); set it to 0"
            )
    if config.algo.kl_reference == "junior":
        yield (
            "algo.kl_reference=junior: the junior gives no log-probability for the senior's tokens (junior_translation=true); "
            "choose algo.kl_reference=base"
        )
