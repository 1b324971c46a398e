"""The shapes of the published Qwen3 models, by their size."""

from __future__ import annotations

from transformers import Qwen3Config

_DIFFERING = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "tie_word_embeddings")
_BY_SIZE = {
    "0.6B": (1024, 28, 16, 3072, 1),
    "1.7B": (2048, 28, 16, 6144, 1),
    "4B": (2560, 36, 32, 9728, 1),
    "8B": (4096, 36, 32, 12288, 0),
    "14B": (5120, 40, 40, 17408, 0),
    "32B": (5120, 64, 64, 25600, 0),
}
_EQUAL = {"num_key_value_heads": 8, "head_dim": 128, "vocab_size": 151_936}
QWEN3_SHAPES = {size: dict(zip(_DIFFERING, values, strict=True)) | _EQUAL for size, values in _BY_SIZE.items()}
"""The shape of each size, as in `model.shape`."""


def qwen3_config(size: str) -> Qwen3Config:
    """Return the configuration of the model of `size`."""
    shape = QWEN3_SHAPES[size]
    tied = bool(shape["tie_word_embeddings"])
    return Qwen3Config(**shape | {"tie_word_embeddings": tied}, max_position_embeddings=40_960, rope_theta=1_000_000.0)
