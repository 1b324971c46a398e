"""Check that the weights in a model's files fit its modules, on the meta device, without memory for either."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor
from transformers import PretrainedConfig, PreTrainedModel
from transformers.utils import logging

from tandem.models.unusable import UnusableModel, refusing


def fitted_model(
    model_class: type[PreTrainedModel], config: PretrainedConfig, tensors: Mapping[str, Tensor]
) -> PreTrainedModel:
    """Build the model of `config` and load `tensors` into it as the learner does. Both are on the meta device.

    Raises `UnusableModel` when the model cannot be built, when weights are missing, left over, of another shape or quantized,
    and when the model has no linear head.
    """
    layers = getattr(config, "num_hidden_layers", 0)
    if isinstance(layers, int) and layers > len(tensors):  # checked before the model builds them
        raise UnusableModel(f"config.json says num_hidden_layers={layers}, but there are {len(tensors)} tensors; {_REMEDY}")
    with refusing("config.json describes no model that can be built", "correct it, or copy the model again"), _quiet():
        model, report = model_class.from_pretrained(
            None,
            config=config,
            state_dict=dict(tensors),
            device_map={"": "meta"},
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    if missing := sorted(report["missing_keys"]):
        tied = "; set tie_word_embeddings=true in config.json if the head is the embedding" if "head" in missing[0] else ""
        raise UnusableModel(f"{_some(missing)} of the model are not in its files{tied or '; ' + _REMEDY}")
    if report["mismatched_keys"]:
        (name, actual, expected), *_ = sorted(report["mismatched_keys"])
        raise UnusableModel(f"{name} has the shape {[*actual]}, and config.json implies {[*expected]}; {_REMEDY}")
    if spare := sorted(name for name in report["unexpected_keys"] if name.endswith("weight")):
        raise UnusableModel(f"config.json describes a {model_class.__name__} without {_some(spare)} of its files; {_REMEDY}")
    parameters = {name for name, _ in model.named_parameters()}
    if packed := sorted(name for name in parameters & tensors.keys() if not tensors[name].is_floating_point()):
        raise UnusableModel(f"{_some(packed)} are quantized or integers; choose the model in float32, float16 or bfloat16")
    _check_head(model)
    return model


_REMEDY = "config.json and weights must be of one model: copy both again, or save it with save_pretrained"


def _check_head(model: PreTrainedModel) -> None:
    head = model.get_output_embeddings()
    weight = getattr(head, "weight", None)
    if model.base_model is model or weight is None or weight.ndim != 2:
        raise UnusableModel(f"{type(model).__name__} has no linear head on a base model; choose another model")


def _some(names: list[str]) -> str:
    return f"{len(names)} weights ({', '.join(names[:2])}{', ...' if len(names) > 2 else ''})"


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence transformers' progress bar and loading report, and restore the random state."""
    level, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()
