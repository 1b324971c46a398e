"""Which engines a run starts, and which share of the machine each of them gets."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

from actors.engine_spec import EngineSpec, pack_boundaries
from tandem.authors import Authors
from tandem.config.rollout import RolloutConfig
from tandem.config.schema import Config
from tandem.rollout import BASE_VERSION, JUNIOR, SENIOR
from tandem.runtime.weights import SHM
from tandem.schedules import needs_junior

NO_GPU = 0.5
"""The share of a GPU that an engine without one is said to take: it has no effect, but vLLM accepts no 0."""
Cores = Sequence[tuple[int, ...]]
"""For each engine of a run, the CPU cores that it is bound to."""


def engine_specs(
    config: Config,
    authors: Authors,
    device: str,
    *,
    first_version: int = BASE_VERSION,
    transport: str = SHM,
    cores: Cores = (),
    own_gpus: bool = False,
    sleep: bool = False,
) -> list[list[EngineSpec]]:
    """For each replica, the engines to start: the senior's, whose weights come by `transport`, then each junior's unless no
    junior ever writes.

    Engines of a run that goes on from `first_version` draw other noise than those that it began with. Without `cores` the
    engines divide those of this machine. With `own_gpus` each takes the next of its replica's GPUs, as many as its
    tensor-parallel size; otherwise they share one. With `sleep` they can be told to give its memory back for a time.
    """
    each = engines_per_replica(config)
    engines = config.rollout.replicas * each
    mine = sorted(os.sched_getaffinity(0))[: config.mode.cpu_cores or None]
    cores = cores or [share_of_cores(mine, index, engines) for index in range(engines)]
    rollout = config.rollout

    # The driver needs a turn's tokens only when the turn ends. Where weights change within a turn, it must receive each token
    # while the token's version is still the engine's.
    weights_change = config.rollout.max_staleness > 0

    def spec(index: int) -> EngineSpec:
        place = index % each
        junior = authors.juniors[place - 1] if place else None
        own = junior.own if junior else None
        boundaries, context = (own.stops, own.context) if own else (authors.boundaries, authors.context)
        return EngineSpec(
            author=JUNIOR if place else SENIOR,
            junior=max(place - 1, 0),
            unit=own.unit if own else None,
            model=str(junior.path if junior else authors.senior),
            dtype=junior.dtype if junior else config.model.dtype,
            # Self-paired engines must not share their noise, nor replicas theirs.
            seed=(config.seed * 1_000 + index + first_version * 1_000_003) % 2**32,
            max_model_len=context,
            max_num_seqs=config.rollout.max_in_flight,
            stream_interval=1 if weights_change and not place else context,
            eos_ids=own.eos_ids if own else authors.eos_ids,
            packed_boundaries=pack_boundaries(boundaries),
            vocabulary=len(boundaries),
            readable=authors.readable if place and not own else None,
            device=device,
            cores=cores[index],
            kv_cache_gib=rollout.kv_cache_gib,
            transport=SHM if place else transport,
            gpu_memory_fraction=(rollout.junior_gpu_memory_fraction if place else rollout.gpu_memory_fraction) or NO_GPU,
            gpus=engine_gpus(rollout, place) if own_gpus else (),
            sleeps=sleep,
            enforce_eager=rollout.enforce_eager,
            profiled=config.profile,
        )

    return [[spec(first + place) for place in range(each)] for first in range(0, engines, each)]


def reseeded(specs: Sequence[EngineSpec], before: int) -> list[EngineSpec]:
    """`specs` for the engines of a rollout actor that comes after `before` others: they must not draw those' noise again."""
    return [replace(spec, seed=(spec.seed + before * 500_000_003) % 2**32) for spec in specs]


def engine_gpus(rollout: RolloutConfig, place: int) -> tuple[int, ...]:
    """Which of its replica's GPUs engine `place` takes, the senior's first."""
    senior, junior = rollout.senior_tensor_parallel, rollout.junior_tensor_parallel
    first = senior + (place - 1) * junior if place else 0
    return tuple(range(first, first + (junior if place else senior)))


def engines_per_replica(config: Config) -> int:
    """How many engines a rollout actor hosts: the senior's and one for each junior, if any junior ever writes."""
    return 1 + len(config.junior) * needs_junior(config)


def share_of_cores(cores: Sequence[int], index: int, engines: int) -> tuple[int, ...]:
    """The cores of engine `index` of `engines`: a slice of its own, or one shared core where there are too few."""
    if engines > len(cores):
        return (cores[index % len(cores)],)
    each = len(cores) // engines
    return tuple(cores[index * each : (index + 1) * each])
