"""What one engine is: everything its processes must know, carried to them inside vLLM's own configuration."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from tandem.runtime.weights import SHM
from tandem.schedule import BEGINS_WORD, ENDS_STEP

if TYPE_CHECKING:
    from vllm.config import VllmConfig

    from tandem.translation import Unit

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
    eos_ids: tuple[int, ...]
    """the token ids that end a rollout"""
    packed_boundaries: str
    """the boundary table, packed (see `pack_boundaries`)"""
    vocabulary: int
    """rows of the boundary table: the width of the model's logits"""
    cores: tuple[int, ...]
    """CPU cores the engine's threads are bound to, on CPU"""
    readable: int | None = None
    """how many ids the other author can read, which are all that may be sampled; None: whatever the model has"""
    junior: int = 0
    """which of the juniors, when `author` is `JUNIOR`"""
    unit: Unit | None = None
    """what a junior with a tokenizer of its own writes at a time; None: it shares the senior's tokens"""
    device: str = "cpu"
    kv_cache_gib: float = 0.25
    """KV cache, on CPU"""
    gpu_memory_fraction: float = 0.25
    gpus: tuple[int, ...] = ()
    """which of the GPUs that its actor sees it takes, spreading its model over them; empty: it shares the first"""
    sleeps: bool = False
    """whether it can be told to give its GPU's memory back for a time"""
    enforce_eager: bool = True
    transport: str = SHM
    """how a learner's weights come to a senior's engine"""
    profiled: bool = False
    """whether vLLM's own profiler can be started in it"""
    stream_interval: int = 1
    """tokens of a turn that the engine gathers before it tells of them; it tells of the turn's end at once, and of a session's
    very first token"""

    def boundaries(self) -> np.ndarray:
        """The boundary table, uint8 [vocabulary]."""
        packed = np.frombuffer(base64.b64decode(self.packed_boundaries), dtype=np.uint8)
        words, steps = np.unpackbits(packed, count=2 * self.vocabulary).reshape(2, -1)
        return BEGINS_WORD * words + ENDS_STEP * steps

    def carried(self) -> dict[str, object]:
        """As vLLM's `additional_config`, which reaches every process of the engine."""
        return {_KEY: asdict(self)}

    @classmethod
    def of(cls, vllm_config: VllmConfig) -> EngineSpec:
        """The spec that an engine's configuration carries. Raises `KeyError` in an engine that was started without one."""
        fields = dict(vllm_config.additional_config[_KEY])
        return cls(
            **{**fields, "cores": tuple(fields["cores"]), "eos_ids": tuple(fields["eos_ids"]), "gpus": tuple(fields["gpus"])}
        )


def visible_gpus(gpus: Sequence[int], actors: str) -> str:
    """CUDA_VISIBLE_DEVICES for an engine that takes `gpus` among those of its actor, whose own value is `actors`."""
    names = actors.split(",")
    return ",".join(names[gpu] for gpu in gpus)


def pack_boundaries(table: np.ndarray) -> str:
    """A boundary table (uint8 [V]) as text, two bits a token."""
    bits = np.stack([table & BEGINS_WORD, table & ENDS_STEP])
    return base64.b64encode(np.packbits(bits.astype(bool)).tobytes()).decode()
