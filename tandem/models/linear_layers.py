"""The linear layers of a model, which may get a low-rank adapter."""

from __future__ import annotations

from collections.abc import Collection

from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from tandem.models.unusable import UnusableModel


def linear_layers(model: PreTrainedModel) -> dict[str, nn.Linear | Conv1D]:
    """Return the linear layers of `model` but its head, by their names in it. Models like GPT-2 have `Conv1D` instead."""
    head = model.get_output_embeddings()
    return {
        name: module for name, module in model.named_modules() if isinstance(module, nn.Linear | Conv1D) and module is not head
    }


def adapted_layers(model: PreTrainedModel, targets: Collection[str]) -> dict[str, nn.Linear | Conv1D]:
    """Return those of the linear layers whose last name is among `targets`; all of them if it is empty.

    Raises `UnusableModel` for a target that the model does not have.
    """
    layers = linear_layers(model)
    kinds = {kind(name) for name in layers}
    if unknown := [target for target in targets if target not in kinds]:
        raise UnusableModel(
            f"learner.lora.targets={list(targets)}: {type(model).__name__} has no linear layer {unknown[0]} below its head; "
            f"choose among {', '.join(sorted(kinds))}"
        )
    return {name: layer for name, layer in layers.items() if not targets or kind(name) in targets}


def kind(name: str) -> str:
    """Return the last name of a layer, which it shares with those of the other blocks."""
    return name.rpartition(".")[2]


def layer_shape(layer: nn.Linear | Conv1D) -> tuple[int, int]:
    """Return how many numbers `layer` reads and writes for each token."""
    return (layer.in_features, layer.out_features) if isinstance(layer, nn.Linear) else (layer.nx, layer.nf)
