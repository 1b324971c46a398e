"""The transform of a head's output to logits: scaled, capped, or unchanged."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from transformers import PretrainedConfig

SOFTCAPS = {
    "final_logit_softcapping": ("gemma", "vaultgemma", "nanochat"),
    "logits_soft_cap": ("recurrent_gemma",),
    "output_logit_soft_cap": ("xlstm",),
}
"""Settings that cap the logits, and how the model types begin that apply them."""
FACTORS = {"logit_scale": ("cohere",), "lm_head_multiplier": ("falcon_h1",), "logits_scaling": ("hyperclovax",)}
"""Settings that multiply the logits, in the same form."""
DIVISORS = {"logits_scaling": ("granite", "minicpm")}
"""Settings that divide the logits, in the same form."""
LOGIT_SETTINGS = {*SOFTCAPS, *FACTORS, *DIVISORS, "logits_mup_width_multiplier", "unpadded_vocab_size"}
"""All settings that change the logits after the head. Another model type may ignore them, or apply them otherwise."""


@dataclass(frozen=True)
class LogitTransform:
    """Logits from the output x of a head: `scale * x`, or `softcap * tanh(scale * x / softcap)`."""

    scale: float = 1.0
    softcap: float | None = None

    def apply_(self, output: Tensor) -> Tensor:
        """Return the logits in the memory of `output`."""
        if self.scale != 1:
            output.mul_(self.scale)
        if self.softcap is not None:
            output.div_(self.softcap).tanh_().mul_(self.softcap)
        return output

    def slope(self, logits: Tensor) -> Tensor | float:
        """Return the derivative of the transform where it has the values `logits`."""
        if self.softcap is None:
            return self.scale
        return (logits / self.softcap).square_().neg_().add_(1).mul_(self.scale)


IDENTITY = LogitTransform()


def logit_transform(config: PretrainedConfig) -> LogitTransform:
    """Return the transform that the model of `config` applies.

    Raises `ValueError` for a setting of another kind, of a model type that is not known to apply it, or without a valid value.
    """
    scale, softcap = 1.0, None
    for setting in sorted(LOGIT_SETTINGS):
        value = getattr(config, setting, None)
        if value in (None, 1.0):
            continue
        known = [kind for kind in (SOFTCAPS, FACTORS, DIVISORS) if config.model_type.startswith(kind.get(setting, ()))]
        if not known:
            raise ValueError(f"models that set {setting} are not supported")
        if not isinstance(value, (int, float)) or not 0 < value < inf:
            raise ValueError(f"{setting}={value!r} in config.json; it must be a positive number")
        if known == [SOFTCAPS]:
            softcap = float(value)
        else:
            scale = scale * value if known == [FACTORS] else scale / value
    return LogitTransform(scale, softcap)
