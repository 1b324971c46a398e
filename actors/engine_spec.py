"""What one engine is: everything its processes must know, carried to them inside vLLM's own configuration."""

from __future__ import annotations

import base64
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from vllm.config import VllmConfig

_KEY = "tandem"


@dataclass(frozen=True)
class EngineSpec:
    """One author's engine."""

    author: int
    """`SENIOR` or `JUNIOR`"""
    model: str
    """a Hugging Face directory"""
    dtype: str
    seed: int
    """of the engine's sampling noise: the two engines of a pair must differ"""
    max_model_len: int
    """the longest text, prompt included"""
    max_num_seqs: int
    """request slots"""
    sentinel: int
    """the token id that ends a turn"""
    eos_ids: tuple[int, ...]
    """the token ids that end a rollout"""
    packed_boundaries: str
    """the boundary table, packed (see `pack_boundaries`)"""
    vocabulary: int
    """rows of the boundary table: the width of the model's logits"""
    cores: tuple[int, ...]
    """CPU cores the engine's threads are bound to, on CPU"""
    device: str = "cpu"
    kv_cache_gib: float = 0.25
    """KV cache, on CPU"""
    gpu_memory_fraction: float = 0.25
    enforce_eager: bool = True

    def boundaries(self) -> np.ndarray:
        """The boundary table, uint8 [vocabulary]."""
        packed = np.frombuffer(base64.b64decode(self.packed_boundaries), dtype=np.uint8)
        return np.unpackbits(packed, count=self.vocabulary)

    def carried(self) -> dict[str, object]:
        """As vLLM's `additional_config`, which reaches every process of the engine."""
        return {_KEY: asdict(self)}

    @classmethod
    def of(cls, vllm_config: VllmConfig) -> EngineSpec:
        """The spec that an engine's configuration carries. Raises `KeyError` in an engine that was started without one."""
        fields = dict(vllm_config.additional_config[_KEY])
        return cls(**{**fields, "cores": tuple(fields["cores"]), "eos_ids": tuple(fields["eos_ids"])})


def pack_boundaries(table: np.ndarray) -> str:
    """A boundary table (uint8 [V] of zeros and ones) as text, one bit a token."""
    return base64.b64encode(np.packbits(table).tobytes()).decode()
