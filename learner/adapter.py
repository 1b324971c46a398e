"""The senior's low-rank adapter (LoRA, by peft): the base model is frozen, and only the adapter learns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import peft
import torch
from peft.tuners.lora import LoraLayer
from peft.utils import SAFETENSORS_WEIGHTS_NAME
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from tandem.config.learner import LoraConfig
from tandem.models.linear_layers import adapted_layers, kind

NAME = "default"
"""peft's name of the only adapter."""


class Adapter:
    """A new adapter of `model`, in float32, which starts as the base model exactly. The base's parameters are frozen.

    `path` is the base's directory or hub id. `seed` determines the random half of the adapter's first weights.
    """

    def __init__(self, model: PreTrainedModel, path: str, config: LoraConfig, seed: int) -> None:
        layers = adapted_layers(model, config.targets)
        self._config = peft.LoraConfig(
            task_type=peft.TaskType.CAUSAL_LM,
            base_model_name_or_path=path,
            r=config.rank,
            lora_alpha=config.alpha,
            target_modules=sorted({kind(name) for name in layers}),
            fan_in_fan_out=all(isinstance(layer, Conv1D) for layer in layers.values()),
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            peft.inject_adapter_in_model(self._config, model, NAME)
        self._layers = {name: layer for name, layer in model.named_modules() if isinstance(layer, LoraLayer)}
        own = {id(parameter) for layer in self._layers.values() for parameter in _own_parameters(layer)}
        for layer in self._layers.values():
            for parameter in _own_parameters(layer):
                parameter.data = parameter.data.float()  # peft gives it the base's dtype
        self.base: dict[str, nn.Parameter] = {}
        """the base's parameters by their names without an adapter"""
        self._changed: dict[str, LoraLayer] = {}
        """the layer of each parameter of the base that the adapter changes"""
        for name, parameter in model.named_parameters():
            if id(parameter) in own:
                continue
            module, _, leaf = name.rpartition(".")
            inner = module.removesuffix(".base_layer")
            self.base[plain := f"{inner}.{leaf}"] = parameter
            if inner in self._layers and leaf == "weight":
                self._changed[plain] = self._layers[inner]

    def changes(self, name: str) -> bool:
        """Whether the adapter changes the base's parameter `name`."""
        return name in self._changed

    def parameters(self, name: str) -> list[nn.Parameter]:
        """Return the adapter's parameters that change the base's parameter `name`; none if it stays as it is."""
        return _own_parameters(self._changed[name]) if name in self._changed else []

    @torch.no_grad()
    def merged(self, name: str, base: Tensor) -> Tensor:
        """Return the base's whole parameter `name` with the adapter added, in its dtype. The sum is taken in float32.

        The adapter's `parameters(name)` must be whole. A parameter that the adapter does not change is returned itself.
        """
        if name not in self._changed:
            return base
        return self._changed[name].get_delta_weight(NAME).add_(base).to(base.dtype)

    @contextmanager
    def off(self) -> Iterator[None]:
        """Compute with the base model alone.

        The adapter's share is multiplied by zero rather than left out, since ZeRO-3 prefetches by the order of modules.
        """
        scales = {name: layer.scaling[NAME] for name, layer in self._layers.items()}
        try:
            for layer in self._layers.values():
                layer.scaling[NAME] = 0.0
            yield
        finally:
            for name, layer in self._layers.items():
                layer.scaling[NAME] = scales[name]

    def named_parameters(self) -> dict[str, nn.Parameter]:
        """Return the adapter's parameters by the names that a PEFT directory gives them."""
        return {
            f"base_model.model.{name}.{half}.weight": parameter
            for name, layer in self._layers.items()
            for half, parameter in zip(("lora_A", "lora_B"), _own_parameters(layer), strict=True)
        }

    def save(self, folder: Path, tensors: Mapping[str, Tensor]) -> None:
        """Write the whole `tensors` of `named_parameters` as a PEFT directory."""
        folder.mkdir(parents=True, exist_ok=True)
        save_file(dict(tensors), folder / SAFETENSORS_WEIGHTS_NAME)
        self._config.save_pretrained(str(folder))


def _own_parameters(layer: LoraLayer) -> list[nn.Parameter]:
    """Return the parameters of the adapter in `layer`."""
    return [layer.lora_A[NAME].weight, layer.lora_B[NAME].weight]
