"""One engine for both authors (`rollout.engines=shared`), with and without an adapter."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from bench.engines import EnginePair, engine_pair
from bench.workload import Workload
from tandem.cogeneration import Session, cogenerate
from tandem.models.linear_layers import kind, linear_layers
from tandem.rollout import JUNIOR, SENIOR, Rollout

RANKS = {"shared": 0, "shared_adapter": 16}
"""The modes, and the rank of the senior's adapter in each; 0: none."""


@asynccontextmanager
async def shared_engine(work: Workload, rank: int) -> AsyncIterator[EnginePair]:
    """Start one engine on all cores with an adapter of `rank`, whose values are zeros; 0: without one."""
    spec = work.specs[SENIOR]
    spec = replace(
        spec,
        shared=True,
        cores=work.cores,
        max_num_seqs=2 * spec.max_num_seqs,
        kv_cache_gib=2 * spec.kv_cache_gib,
        gpu_memory_fraction=2 * spec.gpu_memory_fraction,
        lora_rank=rank,
        lora_alpha=float(rank),
        lora_targets=adapted_kinds(spec.model) if rank else (),
    )
    async with engine_pair({SENIOR: spec}) as engine:
        if rank:
            await engine.engines[SENIOR].reset_adapter()
        yield engine


def adapted_kinds(model: str) -> tuple[str, ...]:
    """Return the last names of all linear layers of a Hugging Face directory."""
    with torch.device("meta"):
        built = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(model))
    return tuple(sorted({kind(name) for name in linear_layers(built)}))


async def shared(pair: EnginePair, work: Workload, tag: str) -> list[Rollout]:
    """Write with two sessions of a rollout on one engine: the senior's with its adapter, the junior's without."""
    engine = pair.engines[SENIOR]

    def write(index: int) -> Coroutine[Any, Any, Rollout]:
        rollout_id = f"{tag}/{index}"
        sessions: dict[int, Session] = {
            author: engine.session(rollout_id, work.sampling, frozen=author == JUNIOR) for author in (SENIOR, JUNIOR)
        }
        return cogenerate(rollout_id, work.prompts[index], sessions, work.schedule, work.boundaries, index, work.limits)

    return await asyncio.gather(*map(write, range(len(work.prompts))))
