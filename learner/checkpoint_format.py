"""The tensors of a Hugging Face checkpoint, which transformers may hold under other names or in fewer parameters."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor
from transformers import PreTrainedModel
from transformers.core_model_loading import revert_weight_conversion

from tandem.config.schema import ConfigError


class CheckpointFormat:
    """Maps each parameter of `model` to the checkpoint's tensors. `parameters` are all of them, whole, on any device.

    Engines load the checkpoint's tensors. Some models hold several of them in one parameter, such as the experts of a layer.
    Raises `ConfigError` for a model that holds one tensor in several parameters.
    """

    def __init__(self, model: PreTrainedModel, parameters: Mapping[str, Tensor]) -> None:
        self._model = model
        self._renamed: dict[str, str] = {}
        """checkpoint name of each parameter that is saved unchanged"""
        names: set[str] = set()
        for name, parameter in parameters.items():
            saved = revert_weight_conversion(model, {name: parameter})
            names |= saved.keys()
            if len(saved) == 1 and next(iter(saved.values())) is parameter:
                self._renamed[name] = next(iter(saved))
        if names != set(revert_weight_conversion(model, dict(parameters))):
            raise ConfigError(
                f"model: {type(model).__name__} holds tensors of its checkpoint in several parameters, which cannot be "
                "published one by one; choose another model"
            )

    def saved(self, name: str, parameter: Tensor) -> list[tuple[str, Tensor]]:
        """Return the checkpoint's tensors that the whole parameter `name` holds, with their names, in a fixed order."""
        if renamed := self._renamed.get(name):
            return [(renamed, parameter)]
        return sorted(revert_weight_conversion(self._model, {name: parameter}).items())
