"""Inspection of a model's directory before a run starts. Every error names key, value and remedy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from transformers import PretrainedConfig, PreTrainedTokenizerBase

from tandem.config.learner import LearnerConfig
from tandem.config.schema import SELF, Config, ConfigError
from tandem.models.configuration import causal_lm_class, check_logits, context_length, read_configuration
from tandem.models.linear_layers import adapted_layers
from tandem.models.sequence_parallel import check_sequence_parallel
from tandem.models.structure import fitted_model
from tandem.models.unusable import UnusableModel
from tandem.models.vocabulary import check_rows, end_tokens, read_tokenizer
from tandem.models.weight_files import check_no_pointers, read_headers, weight_files


@dataclass(frozen=True)
class ModelFacts:
    """The properties of a usable model, read from its files."""

    directory: Path
    config: PretrainedConfig
    tokenizer: PreTrainedTokenizerBase
    context: int | None
    """the context length in tokens; None: no limit"""
    vocabulary: int
    """the width of its logits"""
    eos_ids: tuple[int, ...]
    """the token ids that end a text, the tokenizer's own first; may be empty"""
    parameters: int


def inspect_model(directory: Path, key: str, learner: LearnerConfig | None = None) -> ModelFacts:
    """Inspect the Hugging Face directory of a senior or junior: configuration, architecture, weight files, head, tokenizer.

    Reads only headers of the weights, runs no code of the model and never prompts. `key` is the configuration key that names
    the model, with its value (`model.path=...`, `junior[0]=...`). Raises `ConfigError` when the model cannot be used, or when
    it lacks the layers that `learner` adapts or cannot be split over its ranks.
    """
    try:
        return _inspect(directory, learner)
    except UnusableModel as error:
        raise ConfigError(f"{key}: {error}") from error
    except OSError as error:
        raise ConfigError(f"{key}: {error.filename or directory} cannot be read: {error.strerror or error}") from error


def inspect_local_models(config: Config) -> None:
    """Inspect the models of `config` that are local directories. Downloads, builds and converts nothing.

    Raises `ConfigError` as `inspect_model` does.
    """
    paths = {"model.path": config.model.path} if config.model.source == "hf" else {}
    paths |= {f"junior[{index}]": name for index, name in enumerate(config.junior) if name != SELF}
    for key, name in paths.items():
        if name and (directory := Path(name)).is_dir():
            inspect_model(directory.resolve(), f"{key}={name}", config.learner if key == "model.path" else None)


def _inspect(directory: Path, learner: LearnerConfig | None) -> ModelFacts:
    check_no_pointers(directory)
    if (directory / "adapter_config.json").is_file():
        raise UnusableModel(
            "it holds an adapter (adapter_config.json); merge it into its base model (merge_and_unload) and save that"
        )
    if not (directory / "config.json").is_file():
        raise UnusableModel("there is no config.json; name a directory that save_pretrained wrote")
    config = read_configuration(directory)
    model_class = causal_lm_class(config)
    check_logits(config)
    context = context_length(config)
    tokenizer = read_tokenizer(directory)
    model = fitted_model(model_class, config, read_headers(weight_files(directory)))
    rows, outputs = model.get_input_embeddings().weight.shape[0], model.get_output_embeddings().weight.shape[0]
    check_rows(tokenizer, min(rows, outputs))
    if learner:
        if learner.lora.rank:
            adapted_layers(model, learner.lora.targets)
        check_sequence_parallel(config, learner.sequence_parallel)
    return ModelFacts(
        directory=directory,
        config=config,
        tokenizer=tokenizer,
        context=context,
        vocabulary=outputs,
        eos_ids=end_tokens(directory, tokenizer, outputs),
        parameters=sum(parameter.numel() for parameter in model.parameters()),
    )
