"""Whether engines and learner fit into the memory of their GPUs, how much of it each engine takes, and what to do if not."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from tandem.config import Config, ConfigError, LearnerConfig
from tandem.plan.memory import ENGINE_ASLEEP_GIB, USABLE, EngineMemory, RankMemory, engine_memory, rank_memory
from tandem.plan.sizes import Sizes
from tandem.schedules import needs_junior

ALONE = 0.9
"""The share of its GPUs that an engine takes when it has them to itself."""
MOST_GPUS = 8
"""The largest tensor-parallel size that is advised."""


@dataclass(frozen=True)
class Memory:
    """What every part of a run takes on each of its GPUs."""

    senior: EngineMemory
    juniors: tuple[EngineMemory, ...]
    """empty if no junior ever writes"""
    rank: RankMemory

    @property
    def engines(self) -> tuple[EngineMemory, ...]:
        """Those of one replica, the senior's first."""
        return (self.senior, *self.juniors)


@dataclass(frozen=True)
class Fractions:
    """The share of each of its GPUs that an engine takes."""

    senior: float
    junior: float

    def of(self, role: str) -> float:
        """That of the `senior`'s or a `junior`'s engine."""
        return self.senior if role == "senior" else self.junior


def memory(config: Config, sizes: Sizes) -> Memory:
    """What the parts of `config` take, estimated."""
    rollout = config.rollout
    context = config.data.max_prompt_tokens + max(rollout.sampling.max_tokens, config.eval.sampling.max_tokens)
    dtypes = config.junior_dtypes or [config.model.dtype] * len(config.junior)
    juniors = [
        engine_memory(size, dtype, rollout.junior_tensor_parallel, context)
        for size, dtype in zip(sizes.juniors, dtypes, strict=True)
    ]
    return Memory(
        senior=engine_memory(sizes.senior, config.model.dtype, rollout.senior_tensor_parallel, context),
        juniors=tuple(juniors) if needs_junior(config) else (),
        rank=rank_memory(sizes.senior, config.learner, reference=bool(config.algo.kl_coef)),
    )


def fractions_alone(config: Config, sizes: Sizes, gpu_gib: float) -> Fractions:
    """The shares when every engine and every rank has GPUs of its own, of `gpu_gib` each (0: unknown, and nothing is checked).

    Raises `ConfigError` when an engine or a rank does not fit, with what would make it fit.
    """
    found = memory(config, sizes)
    senior = config.rollout.gpu_memory_fraction or ALONE
    fractions = Fractions(senior, config.rollout.junior_gpu_memory_fraction or senior)
    if not gpu_gib:
        return fractions
    for role, engine in [("senior", found.senior), *[("junior", junior) for junior in found.juniors]]:
        if engine.least > fractions.of(role) * gpu_gib:
            share = fractions.of(role)
            remedy = _more_gpus(config, sizes, role, share * gpu_gib)
            raise ConfigError(
                f"rollout.{role}_tensor_parallel={_gpus(config, role)}: the {role}'s engine needs {engine.least:.1f} GiB "
                f"on each of its GPUs (estimated) and gets {share:.2f} of {gpu_gib:g} GiB; {remedy}"
            )
    if not config.rollouts_only:
        check_rank_alone(config, sizes, gpu_gib)
    return fractions


def check_rank_alone(config: Config, sizes: Sizes, gpu_gib: float) -> None:
    """Raises `ConfigError` when a rank does not fit on a GPU of its own, with what would make it fit."""
    rank, usable = memory(config, sizes).rank, USABLE * gpu_gib
    if rank.total > usable:
        raise ConfigError(
            f"learner.ranks={config.learner.ranks}: a rank needs {rank.total:.1f} GiB (estimated) of {gpu_gib:g} GiB; "
            + _remedy(config, sizes, lambda rank: rank.total <= usable)
        )


def room_beside(rank: RankMemory, gpu_gib: float, engines: int, *, sleep: bool) -> float:
    """What a rank leaves of a GPU of `gpu_gib` to so many engines, in GiB: all that it does not need while they write, if they
    `sleep` while it learns and it then has room beside them (0 if not); else all that it never needs."""
    usable = USABLE * gpu_gib
    if not sleep:
        return usable - rank.total
    return usable - rank.between_updates if rank.total + engines * ENGINE_ASLEEP_GIB <= usable else 0.0


def fractions_shared(
    config: Config, sizes: Sizes, gpu_gib: float, replicas: int, *, learner: bool, sleep: bool = False
) -> Fractions:
    """The shares when `replicas` replicas, and a rank of the learner if `learner`, share a GPU of `gpu_gib`. With `sleep` the
    engines give their memory back while it learns.

    Every engine gets room for its weights and for equally many texts of full length, at most `rollout.max_in_flight`. Raises
    `ConfigError` when there is no room for one, with what would make some.
    """
    found = memory(config, sizes)
    engines, least = replicas * len(found.engines), sum(engine.least for engine in found.engines)

    def room(rank: RankMemory, *, sleep: bool = sleep) -> float:
        return room_beside(rank, gpu_gib, engines, sleep=sleep) if learner else USABLE * gpu_gib

    def fits(rank: RankMemory, *, sleep: bool = sleep) -> bool:
        return least * replicas <= room(rank, sleep=sleep)

    if not fits(found.rank):
        needs = f"the {len(found.engines)} engines of a replica need {least:.1f} GiB"
        if not learner:
            remedy = "use fewer replicas"
        else:
            needs += f", a rank of the learner {_needs(found.rank, engines, sleep=sleep)}"
            remedy = _to_sleep(config) if not sleep and fits(found.rank, sleep=True) else _remedy(config, sizes, fits)
        raise ConfigError(f"mode.name=local: one GPU of {gpu_gib:g} GiB is too small for all (estimated): {needs}; {remedy}")
    budget = room(found.rank) / replicas
    weights, text = (sum(getattr(engine, part) for engine in found.engines) for part in ("weights", "text"))
    texts = min(config.rollout.max_in_flight, (budget - weights) / text)
    senior, *juniors = (math.floor(1000 * (engine.weights + texts * engine.text) / gpu_gib) / 1000 for engine in found.engines)
    return Fractions(senior, max(juniors, default=senior))


def _needs(rank: RankMemory, engines: int, *, sleep: bool) -> str:
    """What a rank needs of a GPU that it shares with so many engines, which may sleep while it learns."""
    if not sleep:
        return f"{rank.total:.1f} GiB"
    return (
        f"{rank.total:.1f} GiB while it learns beside {engines * ENGINE_ASLEEP_GIB:.1f} GiB of sleeping engines, and "
        f"{rank.between_updates:.1f} GiB while they write"
    )


def _to_sleep(config: Config) -> str:
    """What has engines sleep that share a GPU with the learner."""
    missing = {"rollout.max_staleness=0": config.rollout.max_staleness, "rollout.sleep=true": not config.rollout.sleep}
    settings = " ".join(setting for setting, lacks in missing.items() if lacks)
    return f"use {settings}, so that engines sleep while the learner learns"


def _gpus(config: Config, role: str) -> int:
    gpus: int = getattr(config.rollout, f"{role}_tensor_parallel")
    return gpus


def _more_gpus(config: Config, sizes: Sizes, role: str, gib: float) -> str:
    """The smallest larger tensor-parallel size with which an engine fits into `gib`."""
    gpus = 2 * _gpus(config, role)
    while gpus <= MOST_GPUS:
        changed: dict[str, Any] = {f"{role}_tensor_parallel": gpus}
        larger = replace(config, rollout=replace(config.rollout, **changed))
        found = memory(larger, sizes)
        if all(engine.least <= gib for engine in (found.juniors if role == "junior" else [found.senior])):
            return f"use rollout.{role}_tensor_parallel={gpus}"
        gpus *= 2
    return "use a smaller model, shorter texts or larger GPUs"


def _remedy(config: Config, sizes: Sizes, fits: Callable[[RankMemory], bool]) -> str:
    """The mildest change of the learner with which a rank `fits`."""
    for changes in _changes(config.learner):
        learner = replace(config.learner, **changes)
        if fits(rank_memory(sizes.senior, learner, reference=bool(config.algo.kl_coef))):
            return "use " + " ".join(f"learner.{key}={str(value).lower()}" for key, value in changes.items())
    return "use a smaller model, larger GPUs, or more of them with mode=cluster learner.ranks=N"


def _changes(learner: LearnerConfig) -> Iterator[dict[str, Any]]:
    """Ways to make a rank smaller, the mildest first."""
    checkpointing: dict[str, Any] = {"gradient_checkpointing": True}
    small = {"micro_batch_tokens": min(2048, learner.micro_batch_tokens)}
    # It computes the same as ZeRO 1 and lets go of gradients sooner.
    lean: dict[str, Any] = {"zero_stage": 2} if learner.zero_stage == 1 else {}
    if lean:
        yield lean
        yield checkpointing
    yield lean | checkpointing
    yield lean | checkpointing | small
    if learner.ranks > 1:
        yield {"zero_stage": 3} | checkpointing
        yield {"zero_stage": 3} | checkpointing | small
    yield {"zero_stage": max(1, learner.zero_stage), "offload_optimizer": True} | checkpointing
    yield {"zero_stage": 3, "offload_optimizer": True, "offload_parameters": True} | checkpointing | small
