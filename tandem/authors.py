"""The authors of a run, a senior and its juniors: their models, the vocabulary they share, and who writes which rollout."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from transformers import PreTrainedTokenizerBase

from tandem.config.algo import AlgoConfig
from tandem.config.black_box import OPENAI, black_box
from tandem.config.learner import LoraConfig
from tandem.config.schema import Config, ConfigError
from tandem.models.inspection import ModelFacts, inspect_model
from tandem.models.zoo.base_models import base_model, junior_model
from tandem.models.zoo.vocabulary import tokenizer_difference
from tandem.schedule import (
    COMPLETE,
    all_schedules,
    boundary_rule,
    boundary_table,
    line_table,
    needs_junior,
    unannealed_schedule,
)
from tandem.tokenization.byte_vocabulary import ByteVocabulary
from tandem.translation import Unit, stop_table, unit_of

MOST_EXCLUDED = 1024
"""The most ids that a request may exclude on GPUs (`MAX_NUM_LOGIT_BIAS_TOKENS` of vLLM)."""
_NO_END = "declares no end-of-sequence token, so that no rollout could end; set the tokenizer's eos_token and save it again"


@dataclass(frozen=True)
class JuniorTokenizer:
    """A tokenizer that is not the senior's, and what translating its text needs (see `tandem.translation`)."""

    tokenizer: PreTrainedTokenizerBase
    unit: Unit
    """what the junior writes at a time"""
    stops: np.ndarray
    """uint8 [V of the junior], 1 where a token begins a word or ends a step"""
    eos_ids: tuple[int, ...]
    context: int
    """the longest text that the junior reads, in its tokens"""


@dataclass(frozen=True)
class Junior:
    """A frozen junior: its Hugging Face directory, how often it is drawn, and its engine's dtype."""

    path: Path
    weight: float
    """relative to those of the other juniors"""
    dtype: str
    vocabulary: int
    """the width of its logits"""
    translation: JuniorTokenizer | None = None
    """None: it shares the senior's tokenizer"""


@dataclass(frozen=True)
class Authors:
    """The senior's base model, the juniors, and what all engines and the learner must agree on."""

    senior: Path
    juniors: tuple[Junior, ...]
    tokenizer: PreTrainedTokenizerBase
    vocabulary: int
    """the width of the logits, of the widest model with the senior's tokenizer"""
    senior_vocabulary: int
    """the width of the senior's logits; the senior has no embedding for ids beyond it, so a junior with its tokenizer must not
    sample them"""
    senior_parameters: int
    eos_ids: tuple[int, ...]
    """the senior's tokens that end a text; the first stands where an author without them, such as a person, ends one"""
    boundaries: np.ndarray
    """uint8 [vocabulary], the boundary table, with the entries that a schedule of the run uses"""
    context: int
    """the longest text, prompt included, that a run needs and all models can read"""

    @property
    def junior_weights(self) -> tuple[float, ...]:
        """Return how often each junior is drawn, relative to the others."""
        return tuple(junior.weight for junior in self.juniors)

    def kl_reference(self, algo: AlgoConfig) -> Path:
        """Return the model toward which the Kullback-Leibler term of `algo` draws the senior."""
        return self.juniors[0].path if algo.kl_reference == "junior" else self.senior

    @property
    def junior_tokenizers(self) -> dict[int, PreTrainedTokenizerBase]:
        """Return the tokenizers of those juniors that do not share the senior's, by index."""
        return {i: junior.translation.tokenizer for i, junior in enumerate(self.juniors) if junior.translation}


def load_authors(config: Config) -> Authors:
    """Find, build or convert the models, and check that the senior can write one text with each of the juniors.

    Raises `ConfigError` when a model cannot be had or used (see `inspect_model`), when tokenizers differ that must not, or when
    a model's context is too short.
    """
    path = base_model(config.model, config.cache_path)
    senior = _inspect_senior(config, path)
    juniors = tuple(_load_junior(config, index, path, senior) for index in range(len(config.junior)))
    vocabulary = max([senior.vocabulary, *(junior.vocabulary for junior in juniors if not junior.translation)])
    boundaries = run_boundaries(config, senior.tokenizer, vocabulary)
    if any(junior.translation for junior in juniors):
        _check_byte_vocabulary("model", senior.tokenizer)
    return Authors(
        senior=path,
        juniors=juniors,
        tokenizer=senior.tokenizer,
        vocabulary=vocabulary,
        senior_vocabulary=senior.vocabulary,
        senior_parameters=senior.parameters,
        eos_ids=senior.eos_ids,
        boundaries=boundaries,
        context=config.longest_text,
    )


def _inspect_senior(config: Config, path: Path) -> ModelFacts:
    """Return the facts about the senior's base model at `path`. Raises `ConfigError` when it cannot be used."""
    key = f"model.path={config.model.path}" if config.model.source == "hf" else "model"
    senior = inspect_model(path, key, config.learner)
    _check_context(config, senior, "model")
    if not senior.eos_ids:
        raise ConfigError(f"model: {path} {_NO_END}")
    return senior


def _load_junior(config: Config, index: int, senior_path: Path, senior: ModelFacts) -> Junior:
    """Return the junior that `config.junior[index]` names. Raises `ConfigError` when it cannot write with the senior."""
    name = config.junior[index]
    weight = config.junior_weights[index] if config.junior_weights else 1.0
    dtype = config.junior_dtypes[index] if config.junior_dtypes else config.model.dtype
    if name.startswith(OPENAI):  # its text is cut into the senior's tokens
        return Junior(senior_path, weight, dtype, senior.vocabulary)
    path = junior_model(name, senior_path, f"junior[{index}]", config.cache_path, config.model.recipe_seed)
    if path == senior_path:
        return Junior(path, weight, dtype, senior.vocabulary)
    key, translation = f"junior[{index}]={name}", None
    is_reference = config.algo.kl_coef > 0 and config.algo.kl_reference == "junior"
    junior = inspect_model(path, key, replace(config.learner, lora=LoraConfig()) if is_reference else None)
    _check_context(config, junior, key)
    if difference := tokenizer_difference(senior.tokenizer, junior.tokenizer):
        if not config.junior_translation:
            raise ConfigError(f"{key}: {difference}; choose a junior that shares it, or set junior_translation=true")
        translation = _junior_tokenizer(config, junior, key)
    return Junior(path, weight, dtype, junior.vocabulary, translation)


def _check_context(config: Config, model: ModelFacts, key: str) -> None:
    """Raise `ConfigError` when `model`, which `key` names, cannot read the longest text of a run."""
    needed = config.longest_text
    if model.context is None or model.context >= needed:
        return
    longest_that_fits = model.context - config.data.max_prompt_tokens - 1
    responses = {"rollout": config.rollout.sampling.max_tokens, "eval": config.eval.sampling.max_tokens}
    too_long = [f"{part}.sampling.max_tokens={tokens}" for part, tokens in responses.items() if tokens > longest_that_fits]
    raise ConfigError(
        f"{key}: its context is {model.context} tokens, but data.max_prompt_tokens={config.data.max_prompt_tokens} and "
        f"{' and '.join(too_long)} need {needed}; lower one of them"
    )


def with_senior(authors: Authors, senior: Path, key: str) -> Authors:
    """Return `authors` with the model at `senior` in place of the senior's base model.

    Raises `ConfigError`, naming `key`, when it has another tokenizer or cannot read texts of the same length.
    """
    remedy = "set model to the base model from which it was trained"
    model = inspect_model(senior, key)
    if difference := tokenizer_difference(authors.tokenizer, model.tokenizer):
        raise ConfigError(f"{key}: {difference}; {remedy}")
    if model.context is not None and model.context < authors.context:
        raise ConfigError(f"{key}: it reads {model.context} tokens, and {authors.context} are needed; {remedy}")
    if model.vocabulary > authors.vocabulary:
        raise ConfigError(f"{key}: it has {model.vocabulary} outputs, and the model {authors.vocabulary}; {remedy}")
    return replace(authors, senior=senior, senior_vocabulary=model.vocabulary, senior_parameters=model.parameters)


def check_excluded(config: Config, authors: Authors) -> None:
    """Raise `ConfigError` when a junior's engine on a GPU would have to exclude more than `MOST_EXCLUDED` ids.

    It must exclude those for which the senior has no embedding.
    """
    width = authors.senior_vocabulary
    for index, (name, junior) in enumerate(zip(config.junior, authors.juniors, strict=True)):
        if needs_junior(config) and not junior.translation and (beyond := junior.vocabulary - width) > MOST_EXCLUDED:
            raise ConfigError(
                f"junior[{index}]={name}: its logits have {junior.vocabulary} entries and the senior's {width}; it "
                f"must not sample the {beyond} ids beyond, and vLLM on GPUs excludes at most {MOST_EXCLUDED:,}; resize it to "
                f"the senior's width (resize_token_embeddings({width})) and save it, or choose mode.device=cpu"
            )


def check_draft(config: Config, authors: Authors) -> None:
    """Raise `ConfigError` when the junior cannot draft for the senior."""
    width = authors.senior_vocabulary
    if (outputs := authors.juniors[0].vocabulary) != width:
        raise ConfigError(
            f"junior[0]={config.junior[0]}: its logits have {outputs} entries and the senior's {width}; a draft "
            f"(speculative={config.speculative}) needs equally many; resize it (resize_token_embeddings({width})) "
            "and save it, or leave out speculative"
        )


def run_boundaries(config: Config, tokenizer: PreTrainedTokenizerBase, vocabulary: int) -> np.ndarray:
    """Return the boundary table of all schedules of the run. Raises `ConfigError` when no token is a boundary of one."""
    table = np.zeros(vocabulary, np.uint8)
    for key, schedule in all_schedules(config).items():
        rule = boundary_rule(config, schedule)
        try:
            marked = boundary_table(tokenizer, rule, vocabulary)
        except ValueError as error:
            whole_units = config.junior_translation or black_box(config)  # they exclude schedules without boundaries
            remedy = "another model" if whole_units else "token or chunk, which need no boundaries, or another model"
            raise ConfigError(f"{key}.name={schedule.name}: {error}; choose {remedy}") from error
        table |= (unannealed_schedule(schedule).boundary & COMPLETE) * marked
        if rule == "paragraph":
            table |= line_table(tokenizer, vocabulary)
    return table


def _junior_tokenizer(config: Config, junior: ModelFacts, key: str) -> JuniorTokenizer:
    """Return how to translate a junior with another tokenizer. Raises `ConfigError` when its text cannot be translated."""
    _check_byte_vocabulary(key, junior.tokenizer)
    if not junior.eos_ids:
        raise ConfigError(f"{key}: it {_NO_END}")
    rule, context = boundary_rule(config, config.schedule), config.longest_text
    try:
        stops = stop_table(junior.tokenizer, rule, junior.vocabulary)
    except ValueError as error:
        raise ConfigError(f"{key}: {error}; choose another junior") from error
    # The junior may need more tokens for the same text: it gets room for twice as many, if it can read them.
    room = 2 * context if junior.context is None else min(2 * context, junior.context)
    return JuniorTokenizer(junior.tokenizer, unit_of(rule), stops, junior.eos_ids, room)


def _check_byte_vocabulary(key: str, tokenizer: PreTrainedTokenizerBase) -> None:
    """Raise `ConfigError` when text cannot be exchanged in the tokens of the model that `key` names."""
    try:
        ByteVocabulary(tokenizer)
    except ValueError as error:
        raise ConfigError(f"{key}: {error}, which junior_translation=true needs") from error
