"""The authors of a run, a senior and its juniors: their models, the vocabulary they share, and who writes which rollout."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path

import numpy as np
from transformers import PreTrainedTokenizerBase

from tandem.config.schema import Config, ConfigError
from tandem.models import ModelFacts, inspect_model
from tandem.models.zoo import base_model, junior_model, tokenizer_difference
from tandem.schedule import COIN_SIDES, BoundaryRule, boundary_table, coin
from tandem.schedules import all_schedules, boundary_rule, named_schedule, needs_junior
from tandem.tokenization.byte_level import ByteLevel
from tandem.translation import Unit, stop_table, unit_of

MOST_EXCLUDED = 1024
"""The most ids that a request may exclude on GPUs (`MAX_NUM_LOGIT_BIAS_TOKENS` of vLLM)."""
_NO_END = "declares no end-of-sequence token, so that no rollout could end; set the tokenizer's eos_token and save it again"


@dataclass(frozen=True)
class JuniorTokenizer:
    """What a junior with another tokenizer does not share with the senior (see `tandem.translation`)."""

    tokenizer: PreTrainedTokenizerBase
    unit: Unit
    """what it writes at a time"""
    stops: np.ndarray
    """uint8 [V of the junior], 1 where a token begins a word or ends a step"""
    eos_ids: tuple[int, ...]
    context: int
    """the longest text that it reads, in its own tokens"""


@dataclass(frozen=True)
class Junior:
    """A frozen junior: its Hugging Face directory, how often it is drawn, and its engine's dtype."""

    path: Path
    weight: float
    """relative to the other juniors'"""
    dtype: str
    vocabulary: int
    """the width of its logits"""
    own: JuniorTokenizer | None = None
    """None: it shares the senior's tokenizer"""


@dataclass(frozen=True)
class Authors:
    """The senior's base model, the juniors, and what all engines and the learner must agree on."""

    senior: Path
    juniors: tuple[Junior, ...]
    tokenizer: PreTrainedTokenizerBase
    vocabulary: int
    """the width of the models' logits, of the widest that has the senior's tokenizer"""
    readable: int
    """the width of the senior's: it has no embedding for the ids beyond, which no junior with its tokenizer may sample"""
    senior_parameters: int
    eos_ids: tuple[int, ...]
    boundaries: np.ndarray
    """uint8 [vocabulary], what each token begins or ends, as far as a schedule asks (`BEGINS_WORD`, `ENDS_STEP`)"""
    context: int
    """the longest text, prompt included, that a run needs and all models can read"""

    @property
    def junior_weights(self) -> tuple[float, ...]:
        """How often each junior is drawn, relative to the others."""
        return tuple(junior.weight for junior in self.juniors)

    @property
    def junior_tokenizers(self) -> dict[int, PreTrainedTokenizerBase]:
        """The tokenizers of those juniors that do not share the senior's."""
        return {index: junior.own.tokenizer for index, junior in enumerate(self.juniors) if junior.own}


def draw_junior(seed: int, weights: Sequence[float]) -> int:
    """Which junior takes part in the rollout of schedule seed `seed`: an index into `weights` (above 0), in their proportion.

    The coin is that of position -1, where no token stands: it says nothing of the coins that the schedule tosses.
    """
    limits = list(accumulate(weights))
    return bisect_right(limits, coin(seed, -1) / COIN_SIDES * limits[-1])


def noise_seed(seed: int, author: int) -> int:
    """The seed of an author's sampling noise in the rollout of schedule seed `seed`, where that is to be repeatable.

    Another coin where no token stands, for each author another.
    """
    return coin(seed, -2 - author)


def load_authors(config: Config) -> Authors:
    """Finds, builds or converts the models, and checks that the senior can write one text with each of the juniors.

    Raises `ConfigError` when a model cannot be had or used (see `inspect_model`), when tokenizers differ that must not, or when
    a model's context is too short.
    """
    senior = base_model(config.model, config.cache_path)
    responses = {"rollout": config.rollout.sampling.max_tokens, "eval": config.eval.sampling.max_tokens}
    context = config.data.max_prompt_tokens + max(responses.values()) + 1
    rule = boundary_rule(config)

    def inspected(name: str, key: str, path: Path) -> ModelFacts:
        """The model at `path`, whose context must suffice: `name` is the key with its value, `key` what short contexts name."""
        facts = inspect_model(path, name)
        if facts.context is not None and facts.context < context:
            excess = context - facts.context
            long = [f"{part}.sampling.max_tokens={n}" for part, n in responses.items() if n > max(responses.values()) - excess]
            raise ConfigError(
                f"{key}: its context is {facts.context} tokens, but data.max_prompt_tokens={config.data.max_prompt_tokens} and "
                f"{' and '.join(long)} need {context}; lower the one or the other"
            )
        return facts

    base = inspected(f"model.path={config.model.path}" if config.model.source == "hf" else "model", "model", senior)
    if not base.eos_ids:
        raise ConfigError(f"model: {senior} {_NO_END}")
    models = [base]
    weights = config.junior_weights or [1.0] * len(config.junior)
    dtypes = config.junior_dtypes or [config.model.dtype] * len(config.junior)
    juniors = []
    for index, (name, weight, dtype) in enumerate(zip(config.junior, weights, dtypes, strict=True)):
        path, own = junior_model(name, senior, f"junior[{index}]", config.cache_path, config.model.recipe_seed), None
        junior = base
        if path != senior:
            key = f"junior[{index}]={name}"
            junior = inspected(key, key, path)
            difference = tokenizer_difference(base.tokenizer, junior.tokenizer)
            if difference and not config.junior_translation:
                raise ConfigError(f"{key}: {difference}; choose a junior that shares it, or set junior_translation=true")
            if difference:
                own = _junior_tokenizer(key, junior, rule, context)
            else:
                models.append(junior)
        juniors.append(Junior(path, weight, dtype, junior.vocabulary, own))
    tokenizer, vocabulary = base.tokenizer, max(model.vocabulary for model in models)
    boundaries = _boundaries(config, tokenizer, vocabulary)
    if any(junior.own for junior in juniors):
        _byte_level("model", tokenizer)
    return Authors(
        senior=senior,
        juniors=tuple(juniors),
        tokenizer=tokenizer,
        vocabulary=vocabulary,
        readable=base.vocabulary,
        senior_parameters=base.parameters,
        eos_ids=base.eos_ids,
        boundaries=boundaries,
        context=context,
    )


def with_senior(authors: Authors, senior: Path, key: str) -> Authors:
    """`authors` with the model at `senior` in place of the senior's base model.

    Raises `ConfigError`, naming `key`, when it has another tokenizer or cannot read as long texts.
    """
    remedy = "set model to the one that it was made of"
    model = inspect_model(senior, key)
    if difference := tokenizer_difference(authors.tokenizer, model.tokenizer):
        raise ConfigError(f"{key}: {difference}; {remedy}")
    if model.context is not None and model.context < authors.context:
        raise ConfigError(f"{key}: it reads {model.context} tokens, and {authors.context} are needed; {remedy}")
    if model.vocabulary > authors.vocabulary:
        raise ConfigError(f"{key}: it has {model.vocabulary} outputs, and the model {authors.vocabulary}; {remedy}")
    return replace(authors, senior=senior, readable=model.vocabulary, senior_parameters=model.parameters)


def check_excluded(config: Config, authors: Authors) -> None:
    """Raise `ConfigError` when a junior's engine on a GPU would have to exclude more than `MOST_EXCLUDED` ids: those for which
    the senior has no embedding."""
    for index, (name, junior) in enumerate(zip(config.junior, authors.juniors, strict=True)):
        if needs_junior(config) and not junior.own and (beyond := junior.vocabulary - authors.readable) > MOST_EXCLUDED:
            raise ConfigError(
                f"junior[{index}]={name}: its logits have {junior.vocabulary} entries and the senior's {authors.readable}; it "
                f"must not sample the {beyond} ids beyond, and vLLM on GPUs excludes at most {MOST_EXCLUDED:,}; resize it to "
                f"the senior's width (resize_token_embeddings({authors.readable})) and save it, or choose mode.device=cpu"
            )


def _boundaries(config: Config, tokenizer: PreTrainedTokenizerBase, vocabulary: int) -> np.ndarray:
    """The boundaries of all schedules that rollouts may follow. Raises `ConfigError` when one of them has none."""
    table = np.zeros(vocabulary, np.uint8)
    for key, schedule in all_schedules(config).items():
        try:
            marked = boundary_table(tokenizer, boundary_rule(config, schedule), vocabulary)
        except ValueError as error:
            raise ConfigError(
                f"{key}.name={schedule.name}: {error}; choose token or chunk, which need no boundaries"
            ) from error
        table |= named_schedule(schedule).boundary * marked
    return table


def _junior_tokenizer(key: str, junior: ModelFacts, rule: BoundaryRule, context: int) -> JuniorTokenizer:
    """What a junior with another tokenizer brings along. Raises `ConfigError` when its text cannot be translated."""
    _byte_level(key, junior.tokenizer)
    if not junior.eos_ids:
        raise ConfigError(f"{key}: it {_NO_END}")
    try:
        stops = stop_table(junior.tokenizer, rule, junior.vocabulary)
    except ValueError as error:
        raise ConfigError(f"{key}: {error}; choose another junior, or schedule=token or chunk") from error
    # Where the senior needs one token the junior may need more: it gets room for twice as many, if it can read them.
    room = 2 * context if junior.context is None else min(2 * context, junior.context)
    return JuniorTokenizer(junior.tokenizer, unit_of(rule), stops, junior.eos_ids, room)


def _byte_level(key: str, tokenizer: PreTrainedTokenizerBase) -> None:
    """Raises `ConfigError` when text cannot be exchanged in the tokens of the model that `key` names."""
    try:
        ByteLevel(tokenizer)
    except ValueError as error:
        raise ConfigError(f"{key}: {error}, which junior_translation=true needs") from error
