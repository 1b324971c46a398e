"""The specification of one engine, which vLLM's own configuration carries to its processes."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from tandem.runtime.weights import SHM
from tandem.schedule import ENTRIES

if TYPE_CHECKING:
    from vllm.config import VllmConfig

    from tandem.translation import Unit

_KEY = "tandem"


@dataclass(frozen=True)
class EngineSpec:
    """The engine of one author."""

    author: int
    """`SENIOR` or `JUNIOR`"""
    model: str
    """a Hugging Face directory"""
    dtype: str
    seed: int
    """of the sampling noise; must differ between engines"""
    max_model_len: int
    """the longest text in tokens, prompt included"""
    max_num_seqs: int
    """request slots, one for each session"""
    eos_ids: tuple[int, ...]
    """the token ids that end a rollout; the senior's first stands where an author with other tokens ends one"""
    packed_boundaries: str
    """the boundary table, packed (see `pack_boundaries`)"""
    vocabulary: int
    """rows of the boundary table: the width of the model's logits"""
    cores: tuple[int, ...]
    """the CPU cores that the engine's threads are bound to, on CPU"""
    id_limit: int | None = None
    """the engine samples only ids below this limit, because the other author cannot read larger ones; None: all ids"""
    shared: bool = False
    """whether the senior's engine writes for the junior too, without the adapter"""
    junior: int = 0
    """the index of the junior, if `author` is `JUNIOR`"""
    unit: Unit | None = None
    """what a junior with another tokenizer writes at a time; None: it shares the senior's tokens"""
    device: str = "cpu"
    kv_cache_gib: float = 0.25
    """size of the KV cache, on CPU"""
    gpu_memory_fraction: float = 0.25
    gpus: tuple[int, ...] = ()
    """the GPUs, among those of its actor, that share the model; empty: the first, with other engines"""
    sleeps: bool = False
    """whether it can free its GPU's memory for a time"""
    enforce_eager: bool = True
    engine_args: dict[str, Any] = field(default_factory=dict)
    """further arguments of vLLM's engine"""
    draft_model: str = ""
    """a Hugging Face directory of the model that drafts; empty: none"""
    draft_tokens: int = 0
    """tokens drafted at a time"""
    transport: str = SHM
    """how a senior's engine receives weights"""
    lora_rank: int = 0
    """the rank of the senior's adapter, which the engine receives in place of whole weights; 0: whole weights"""
    lora_alpha: float = 0.0
    """the adapter's product is multiplied by this / `lora_rank`"""
    lora_targets: tuple[str, ...] = ()
    """the last names of the layers that have an adapter"""
    profiled: bool = False
    """whether vLLM's profiler can be started in it"""
    stream_interval: int = 1
    """tokens of a turn that the engine collects before it returns them; it returns the end of a turn at once"""

    @property
    def sessions(self) -> int:
        """Return the number of sessions that a rollout has in the engine."""
        return 1 + self.shared

    @property
    def collects_reports(self) -> bool:
        """Whether turns that need no answer are reported later, many at once: unless tokens are streamed or times recorded."""
        return self.stream_interval > 1 and not self.profiled

    def boundaries(self) -> np.ndarray:
        """Return the boundary table, uint8 [vocabulary]."""
        packed = np.frombuffer(base64.b64decode(self.packed_boundaries), dtype=np.uint8)
        bits = np.unpackbits(packed, count=len(ENTRIES) * self.vocabulary).reshape(len(ENTRIES), -1)
        return np.array(ENTRIES, np.uint8) @ bits

    def additional_config(self) -> dict[str, object]:
        """Return the spec as vLLM's `additional_config`, which reaches every process of the engine."""
        return {_KEY: asdict(self)}

    @classmethod
    def from_config(cls, vllm_config: VllmConfig) -> EngineSpec:
        """Return the spec that an engine's configuration carries. Raises `KeyError` if there is none."""
        fields = dict(vllm_config.additional_config[_KEY])
        return cls(**fields | {name: tuple(fields[name]) for name in ("cores", "eos_ids", "gpus", "lora_targets")})


def visible_gpus(gpus: Sequence[int], actor_gpus: str) -> str:
    """Return CUDA_VISIBLE_DEVICES for an engine on `gpus`, which index the actor's own value `actor_gpus`."""
    names = actor_gpus.split(",")
    return ",".join(names[gpu] for gpu in gpus)


def pack_boundaries(table: np.ndarray) -> str:
    """Return a boundary table, uint8 [V], as text with a bit for each token and kind of entry."""
    bits = np.stack([table & entry for entry in ENTRIES])
    return base64.b64encode(np.packbits(bits.astype(bool)).tobytes()).decode()
