"""Workloads of the benchmarks: prompts, a schedule, and rollouts of a fixed length."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from transformers import AutoConfig

from actors.engine_spec import EngineSpec, pack_boundaries
from launch.cluster.environment import set_environment
from launch.entry import configuration
from tandem.authors import load_authors
from tandem.cogeneration import Limits
from tandem.config.rollout import SamplingConfig
from tandem.data.problems import load_problems
from tandem.data.prompts import encode
from tandem.rollout import JUNIOR, SENIOR
from tandem.runtime.units import GIB
from tandem.schedule import Schedule, schedule_at

# Without AVX-512 a CPU computes bfloat16 about ten times slower than float32.
DTYPES = {"tiny": "float32", "smollm2": "bfloat16" if torch.backends.cpu.get_cpu_capability() == "AVX512" else "float32"}
"""The models a benchmark runs on, and their dtype on this machine. Another model is a Hugging Face directory."""
GPU_FRACTION = 0.4
"""The share of a GPU's memory that each of two engines takes."""
SEED = 1
WARM_UP_TOKENS = 8


@dataclass(frozen=True)
class Workload:
    """Rollouts to write, each of exactly `tokens` tokens: no end-of-sequence id ends them."""

    prompts: list[tuple[int, ...]]
    tokens: int
    schedule: Schedule
    boundaries: np.ndarray
    """boundary table, uint8 [V]"""
    limits: Limits
    specs: dict[int, EngineSpec]
    """one engine per author, self-paired, each with an equal share of the cores"""
    sampling: SamplingConfig = field(default_factory=SamplingConfig)

    @property
    def cores(self) -> tuple[int, ...]:
        """Return the cores of all engines."""
        return tuple(core for spec in self.specs.values() for core in spec.cores)


def dtype(model: str) -> str:
    """Return the dtype of `model`: that of a Hugging Face directory is bfloat16."""
    return DTYPES.get(model, "bfloat16")


def prepare(
    model: str, rollouts: int, tokens: int, schedule: str = "word", *, device: str = "cpu", eager: bool = True
) -> Workload:
    """Return a workload of `rollouts` different problems of the offline task for `model` (a key of `DTYPES` or a directory).

    `schedule` is the name of a schedule, used with the configuration's defaults. Raises `ValueError` with fewer than two cores
    or if the model's context is too short.
    """
    available = sorted(os.sched_getaffinity(0))
    if len(available) < 2:
        raise ValueError("two engines need two CPU cores, and this process may use only one")
    named = [f"model={model}"] if model in DTYPES else ["model=hf", f"model.path={model}"]
    config = configuration([*named, f"schedule={schedule}", "mode.device=cpu"])
    set_environment(config.cache_path)
    authors = load_authors(config)
    problems = load_problems(config.data, SEED, authors.tokenizer).train.batch(0, rollouts)
    prompts = [prompt.token_ids for prompt in encode(problems, authors.tokenizer, config.data)[0]]
    context = max(map(len, prompts)) + tokens + 1
    longest = AutoConfig.from_pretrained(authors.senior).max_position_embeddings
    if context > longest:
        raise ValueError(f"tokens={tokens}: prompt and response have {context} tokens, and {model} takes at most {longest}")
    share = len(available) // 2

    def spec(author: int, cores: Sequence[int]) -> EngineSpec:
        return EngineSpec(
            author=author,
            model=str(authors.senior),
            dtype=dtype(model),
            seed=SEED * 1_000 + author,
            max_model_len=context,
            max_num_seqs=rollouts,
            stream_interval=context,
            eos_ids=(),
            packed_boundaries=pack_boundaries(authors.boundaries),
            vocabulary=authors.vocabulary,
            cores=tuple(cores),
            device=device,
            kv_cache_gib=kv_cache_gib(str(authors.senior), dtype(model), rollouts, context),
            gpu_memory_fraction=GPU_FRACTION,
            enforce_eager=eager,
        )

    return Workload(
        prompts=prompts,
        tokens=tokens,
        schedule=schedule_at(config, step=1),
        boundaries=authors.boundaries,
        limits=Limits(tokens, context, frozenset()),
        specs={SENIOR: spec(SENIOR, available[:share]), JUNIOR: spec(JUNIOR, available[share : 2 * share])},
    )


def kv_cache_gib(model: str, dtype: str, rollouts: int, context: int) -> float:
    """Return the size of a KV cache for `rollouts` texts of `context` tokens, with a spare block (128 tokens) for each."""
    shape = AutoConfig.from_pretrained(model)
    head = getattr(shape, "head_dim", None) or shape.hidden_size // shape.num_attention_heads
    entry = 2 * shape.num_hidden_layers * shape.num_key_value_heads * head * (4 if dtype == "float32" else 2)
    return (rollouts + 1) * (context + 2 * 128) * entry / GIB
