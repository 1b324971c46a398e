"""The engines of a run: their specs, and the cores and GPUs of each."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

from actors.engine_spec import EngineSpec, pack_boundaries
from tandem.authors import Authors
from tandem.config.learner import LoraConfig
from tandem.config.rollout import RolloutConfig
from tandem.config.schema import Config
from tandem.rollout import BASE_VERSION, JUNIOR, SENIOR
from tandem.runtime.weights import SHM
from tandem.schedule import needs_junior

NO_GPU = 0.5
"""The GPU memory fraction of an engine on the CPU: it has no effect, but vLLM refuses 0."""
Cores = Sequence[tuple[int, ...]]
"""For each engine of a run, the CPU cores that it is bound to."""


def engine_specs(
    config: Config,
    authors: Authors,
    device: str,
    *,
    first_version: int = BASE_VERSION,
    transport: str = SHM,
    lora: LoraConfig | None = None,
    cores: Cores = (),
    own_gpus: bool = False,
    sleep: bool = False,
    streams: bool = False,
) -> list[list[EngineSpec]]:
    """Return, for each replica, the specs of its engines: the senior's, then each junior's if any junior ever writes.

    The senior's engines receive weights by `transport`: with `lora`, which names all its targets, those of the adapter alone.
    Then the senior's engine may write for the junior too (`rollout.engines`). A run that continues from `first_version` samples
    other noise than it began with. Without `cores` the engines divide the cores of this machine. With `own_gpus` each engine
    takes the next of its replica's GPUs, as many as its tensor-parallel size; otherwise they share one. With `sleep` they can
    free its memory. With `streams` they return each token at once.
    """
    replica = [_senior_spec(config, authors, transport)]
    shared = lora is not None and config.rollout.engines == "shared"
    if lora:
        senior = replace(
            replica[0], lora_rank=lora.rank, lora_alpha=lora.alpha, lora_targets=tuple(lora.targets), shared=shared
        )
        replica = [replace(senior, max_num_seqs=config.rollout.max_in_flight * senior.sessions)]
    if needs_junior(config) and not shared:
        replica += [_junior_spec(config, authors, junior) for junior in range(len(config.junior))]
    engines = config.rollout.replicas * len(replica)
    cores = cores or _divide_cores(config, engines)

    def placed(spec: EngineSpec, index: int) -> EngineSpec:
        return replace(
            spec,
            # Engines must not share their noise, which self-paired authors would repeat.
            seed=(config.seed * 1_000 + index + first_version * 1_000_003) % 2**32,
            device=device,
            enforce_eager=device == "cpu" if config.rollout.enforce_eager is None else config.rollout.enforce_eager,
            cores=cores[index],
            gpus=_engine_gpus(config.rollout, index % len(replica)) if own_gpus else (),
            sleeps=sleep,
            stream_interval=1 if streams else spec.stream_interval,
        )

    return [[placed(spec, first + place) for place, spec in enumerate(replica)] for first in range(0, engines, len(replica))]


def _senior_spec(config: Config, authors: Authors, transport: str) -> EngineSpec:
    """Return the spec of the senior's engine, yet without seed, device, cores and GPUs."""
    rollout = config.rollout
    return EngineSpec(
        author=SENIOR,
        model=str(authors.senior),
        dtype=config.model.dtype,
        seed=0,
        max_model_len=authors.context,
        max_num_seqs=rollout.max_in_flight,
        # Where weights change within a turn, each token must arrive while the engine still has the token's version.
        stream_interval=1 if rollout.max_staleness else authors.context,
        eos_ids=authors.eos_ids,
        packed_boundaries=pack_boundaries(authors.boundaries),
        vocabulary=len(authors.boundaries),
        cores=(),
        kv_cache_gib=rollout.kv_cache_gib,
        gpu_memory_fraction=rollout.gpu_memory_fraction or NO_GPU,
        engine_args=rollout.engine_args,
        draft_model=str(authors.juniors[0].path) if config.speculative else "",
        draft_tokens=config.speculative,
        transport=transport,
        profiled=config.profile,
    )


def _junior_spec(config: Config, authors: Authors, index: int) -> EngineSpec:
    """Return the spec of a junior's engine, yet without seed, device, cores and GPUs."""
    junior = authors.juniors[index]
    spec = replace(
        _senior_spec(config, authors, transport=SHM),
        author=JUNIOR,
        junior=index,
        model=str(junior.path),
        dtype=junior.dtype,
        id_limit=authors.senior_vocabulary,
        stream_interval=authors.context,
        engine_args=config.rollout.engine_args | config.rollout.junior_engine_args,
        gpu_memory_fraction=config.rollout.junior_gpu_memory_fraction or NO_GPU,
    )
    if junior.translation is None:
        return spec
    return replace(
        spec,
        unit=junior.translation.unit,
        id_limit=None,
        max_model_len=junior.translation.context,
        stream_interval=junior.translation.context,
        eos_ids=junior.translation.eos_ids,
        packed_boundaries=pack_boundaries(junior.translation.stops),
        vocabulary=len(junior.translation.stops),
    )


def reseeded(specs: Sequence[EngineSpec], generation: int) -> list[EngineSpec]:
    """Return `specs` with the seeds of a rollout actor's `generation`, 0 for the first: none samples another's noise."""
    return [replace(spec, seed=(spec.seed + generation * 500_000_003) % 2**32) for spec in specs]


def _engine_gpus(rollout: RolloutConfig, place: int) -> tuple[int, ...]:
    """Return the GPUs of engine `place` among those of its replica, the senior's first."""
    senior, junior = rollout.senior_tensor_parallel, rollout.junior_tensor_parallel
    first = senior + (place - 1) * junior if place else 0
    return tuple(range(first, first + (junior if place else senior)))


def _divide_cores(config: Config, engines: int) -> Cores:
    """Return the cores of each of a run's engines on this machine."""
    cores = sorted(os.sched_getaffinity(0))[: config.mode.cpu_cores or None]
    return [share_of_cores(cores, index, engines) for index in range(engines)]


def share_of_cores(cores: Sequence[int], index: int, engines: int) -> tuple[int, ...]:
    """Return the cores of engine `index` of `engines`: a separate slice, or one shared core where there are too few."""
    if engines > len(cores):
        return (cores[index % len(cores)],)
    each = len(cores) // engines
    return tuple(cores[index * each : (index + 1) * each])
