"""Whether engines and learner fit into the memory of their GPUs, and how much of it each engine takes."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tandem.config.schema import SELF, Config, ConfigError
from tandem.plan.engines import junior_engines
from tandem.plan.memory import (
    ENGINE_ASLEEP_GIB,
    USABLE,
    EngineMemory,
    ModelSize,
    RankMemory,
    engine_memory,
    rank_memory,
    with_adapter,
)
from tandem.plan.sizes import Sizes

ALONE = 0.9
"""The share of its GPUs that an engine takes when it shares them with nothing."""


class DoesNotFit(ConfigError):
    """An engine or a rank needs more memory than there is; `tandem.plan.remedies` finds what would make it fit."""


@dataclass(frozen=True)
class Memory:
    """The memory of every part of a run on each of its GPUs."""

    senior: EngineMemory
    juniors: tuple[EngineMemory, ...]
    """empty if no junior ever writes"""
    rank: RankMemory

    @property
    def engines(self) -> tuple[EngineMemory, ...]:
        """Return the engines of one replica, the senior's first."""
        return (self.senior, *self.juniors)


@dataclass(frozen=True)
class Fractions:
    """The share of each of its GPUs that an engine takes."""

    senior: float
    junior: float

    def of(self, role: str) -> float:
        """Return the share of the `senior`'s or a `junior`'s engine."""
        return self.senior if role == "senior" else self.junior


def memory(config: Config, sizes: Sizes) -> Memory:
    """Estimate the memory of the parts of `config`."""
    rollout, context = config.rollout, config.longest_text
    juniors = [
        engine_memory(size, dtype, rollout.junior_tensor_parallel, context)
        for size, dtype in zip(sizes.juniors, _junior_dtypes(config), strict=True)
    ]
    senior = engine_memory(sizes.senior, config.model.dtype, rollout.senior_tensor_parallel, context)
    if config.learner.lora.sent_alone:
        senior = with_adapter(senior, sizes.senior, config.model.dtype, shared=rollout.engines == "shared")
    return Memory(
        senior=senior,
        juniors=tuple(juniors) if junior_engines(config) else (),
        rank=rank_memory(sizes.senior, config.learner, longest=longest_rollout(config), reference=_kl_reference(config, sizes)),
    )


def _kl_reference(config: Config, sizes: Sizes) -> ModelSize | None:
    """Return the size of the Kullback-Leibler term's reference; None without this term, and if it is an adapter's base."""
    of_junior = config.algo.kl_reference == "junior"
    if not config.algo.kl_coef or (config.learner.lora.rank and not (of_junior and config.junior[0] != SELF)):
        return None
    return sizes.juniors[0] if of_junior else sizes.senior


def _junior_dtypes(config: Config) -> list[str]:
    return config.junior_dtypes or [config.model.dtype] * len(config.junior)


def longest_rollout(config: Config) -> int:
    """Return the most tokens of a rollout that one rank computes: without the last one, which has no successor to predict."""
    tokens = config.data.max_prompt_tokens + config.rollout.sampling.max_tokens - 1
    return -(-tokens // config.learner.sequence_parallel)


def fractions_alone(config: Config, sizes: Sizes, gpu_gib: float, *, learns: bool) -> Fractions:
    """Return the shares when no engine and no rank shares its GPUs, of `gpu_gib` each (0: unknown, and nothing is checked).

    Raises `DoesNotFit` when an engine does not fit or, if the run `learns`, a rank.
    """
    needs = memory(config, sizes)
    senior = config.rollout.gpu_memory_fraction or ALONE
    fractions = Fractions(senior, config.rollout.junior_gpu_memory_fraction or senior)
    if not gpu_gib:
        return fractions
    engines = zip(
        ("senior", *["junior"] * len(needs.juniors)), needs.engines, (config.model.dtype, *_junior_dtypes(config)), strict=False
    )
    for role, engine, dtype in engines:
        if engine.least > fractions.of(role) * gpu_gib:
            raise DoesNotFit(
                f"rollout.{role}_tensor_parallel={_gpus(config, role)}: the {role}'s engine needs {engine.least:.1f} GiB "
                f"on each of its GPUs (estimated, in {dtype}) and gets {fractions.of(role):.2f} of {gpu_gib:g} GiB"
            )
    if learns:
        check_rank_alone(config, sizes, gpu_gib)
    return fractions


def check_rank_alone(config: Config, sizes: Sizes, gpu_gib: float) -> None:
    """Raise `DoesNotFit` when a rank does not fit on a GPU alone."""
    rank, usable = memory(config, sizes).rank, USABLE * gpu_gib
    if rank.total > usable:
        raise DoesNotFit(
            f"learner.ranks={config.learner.ranks}: a rank needs {rank.total:.1f} GiB (estimated, in {config.learner.dtype}) "
            f"of {gpu_gib:g} GiB"
        )


def room_beside(rank: RankMemory, gpu_gib: float, engines: int, *, sleep: bool) -> float:
    """Return the GiB that a rank leaves to `engines` engines on a GPU of `gpu_gib`.

    With `sleep` this is what the rank does not need between updates, or 0 if the rank does not fit beside the sleeping engines.
    Otherwise it is what the rank never needs.
    """
    usable = USABLE * gpu_gib
    if not sleep:
        return usable - rank.total
    return usable - rank.between_updates if rank.total + engines * ENGINE_ASLEEP_GIB <= usable else 0.0


def fractions_shared(
    config: Config, sizes: Sizes, gpu_gib: float, replicas: int, *, learner: bool, sleep: bool = False
) -> Fractions:
    """Return the shares when `replicas` replicas, and a rank if `learner`, share a GPU of `gpu_gib`.

    With `sleep` the engines release their memory during updates. Every engine gets room for its weights and for the same number
    of texts of full length, at most `rollout.max_in_flight`. Raises `DoesNotFit` when there is no room for one text.
    """
    needs = memory(config, sizes)
    engines, least = replicas * len(needs.engines), sum(engine.least for engine in needs.engines)

    room = room_beside(needs.rank, gpu_gib, engines, sleep=sleep) if learner else USABLE * gpu_gib
    if least * replicas > room:
        parts = f"the {len(needs.engines)} engines of a replica use at least {least:.1f} GiB (model.dtype={config.model.dtype})"
        if replicas > 1:
            parts += f" for each of {replicas} replicas"
        if learner:
            parts += f", a rank of the learner {_needs(needs.rank, engines, sleep=sleep)}"
        writing, learning = least * replicas, 0.0
        if learner:
            writing += needs.rank.between_updates if sleep else needs.rank.total
            learning = needs.rank.total + engines * ENGINE_ASLEEP_GIB if sleep else 0.0
        needed = max(writing, learning)
        raise DoesNotFit(
            f"mode.name=local: needs at least {needed:.0f} GiB of GPU memory (estimated), but {USABLE * gpu_gib:.0f} GiB of a "
            f"GPU of {gpu_gib:g} GiB are usable: {parts}"
        )
    budget = room / replicas
    weights, text = (sum(getattr(engine, part) for engine in needs.engines) for part in ("weights", "text"))
    texts = min(config.rollout.max_in_flight, (budget - weights) / text)
    senior, *juniors = (math.floor(1000 * (engine.weights + texts * engine.text) / gpu_gib) / 1000 for engine in needs.engines)
    return Fractions(senior, max(juniors, default=senior))


def _needs(rank: RankMemory, engines: int, *, sleep: bool) -> str:
    """Describe what a rank needs of a GPU that it shares with `engines` engines, which may `sleep` during updates."""
    if not sleep:
        return f"{rank.total:.1f} GiB"
    return (
        f"{rank.total:.1f} GiB while it learns beside {engines * ENGINE_ASLEEP_GIB:.1f} GiB of sleeping engines, and "
        f"{rank.between_updates:.1f} GiB while they write"
    )


def _gpus(config: Config, role: str) -> int:
    gpus: int = getattr(config.rollout, f"{role}_tensor_parallel")
    return gpus
