"""One engine for both authors (`rollout.engines=shared`), with and without an adapter."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from bench.engines import EnginePair, engine_pair
from bench.modes import Writing, write_all, write_rollout
from bench.workload import Workload
from launch.entry import configuration
from tandem.plan.sizes import adapted_kinds
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
        lora_targets=tuple(adapted_kinds(configuration(["model=hf", f"model.path={spec.model}"]))) if rank else (),
    )
    async with engine_pair({SENIOR: spec}) as engine:
        if rank:
            await engine.engines[SENIOR].reset_adapter()
        yield engine


async def shared(pair: EnginePair, work: Workload, tag: str) -> list[Rollout]:
    """Write with two sessions of a rollout on one engine: the senior's with its adapter, the junior's without."""
    from actors.engine_session import link

    engine = pair.engines[SENIOR]

    def write(index: int) -> Writing:
        rollout_id = f"{tag}/{index}"
        sessions = {a: engine.session(rollout_id, work.sampling, frozen=a == JUNIOR) for a in (SENIOR, JUNIOR)}
        link(sessions)
        return write_rollout(work, index, rollout_id, sessions, work.schedule)

    return await write_all(map(write, range(len(work.prompts))))
