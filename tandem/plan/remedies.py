"""What would make a run fit: changes of its settings are planned anew, the mildest first, and the first that fits is named."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Protocol

from tandem.config.schema import Config
from tandem.plan.fit import longest_rollout

Changes = dict[str, Any]
"""New values by their keys, `section.name`."""
SMALL_MICRO_BATCH = 2048
"""Tokens below which smaller micro-batches waste more time than they save memory."""
SMALL_CHUNK = 256
"""Tokens likewise, of which logits exist at a time."""
MOST_TENSOR_PARALLEL, MOST_RANKS = 8, 64
GPU_SIZES = (16, 24, 32, 40, 48, 64, 80, 96, 141, 180, 192, 288)
"""GiB of the GPUs that there are."""


class Fits(Protocol):
    """Whether a plan can be made of a configuration, on the GPUs that there are or on as many of `gpu_gib` each."""

    def __call__(self, changed: Config, gpu_gib: float | None = None) -> bool:
        """Whether it can."""
        ...


def remedy(config: Config, fits: Fits, gpu_gib: float) -> str:
    """Return the mildest change of `config` that fits on its GPUs of `gpu_gib`; else that which fits on the smallest larger."""
    candidates = list(_candidates(config))
    for changes in candidates:
        if fits(changed(config, changes)):
            return f"use {_shown(changes)}{_reason(changes)}"
    for larger in GPU_SIZES:
        for changes in [{}, *candidates] if larger > gpu_gib else []:
            if fits(changed(config, changes), larger):
                with_ = f" with {_shown(changes)}" if changes else ""
                return f"no setting makes room: use GPUs of {larger} GiB{with_}, or a smaller model"
    return "no setting makes room: use more GPUs with mode=cluster learner.ranks=N learner.zero_stage=3, or a smaller model"


def changed(config: Config, changes: Changes) -> Config:
    """Return `config` with new values."""
    for key, value in changes.items():
        section, _, name = key.rpartition(".")
        if section:
            config = replace(config, **{section: replace(getattr(config, section), **{name: value})})
        else:
            config = replace(config, **{name: value})
    return config


def _shown(changes: Changes) -> str:
    return " ".join(f"{key}={_value(value)}" for key, value in changes.items())


def _value(value: object) -> str:
    return f"[{','.join(value)}]" if isinstance(value, list) else str(value).lower()


def _reason(changes: Changes) -> str:
    sleeps = "rollout.sleep" in changes or "rollout.max_staleness" in changes
    return ", so that engines sleep while the learner learns" if sleeps else ""


def _candidates(config: Config) -> Iterator[Changes]:
    """Yield changes of what the engines and the learner are given, the mildest first; numbers are kept before they are rounded,
    and GPUs are used before the CPU's memory.
    """
    if awake := _asleep(config):
        yield awake
    for narrow in _precisions(config):
        for engines in _of_engines(config):
            for learner in _of_learner(config):
                if changes := {**engines, **narrow, **learner}:
                    yield changes
    for narrow in _precisions(config):
        for engines in _of_engines(config):
            for offloaded in _offloading(config):
                yield {**engines, **narrow, **offloaded}


def _precisions(config: Config) -> Iterator[Changes]:
    """Yield none, then bfloat16 for what is in float32: the engines, and the learner too, which keeps float32 masters."""
    yield {}
    engines: Changes = {}
    if config.model.dtype == "float32":
        engines["model.dtype"] = "bfloat16"
    if "float32" in config.junior_dtypes:
        engines["junior_dtypes"] = ["bfloat16"] * len(config.junior_dtypes)
    if engines:
        yield engines
    # DeepSpeed keeps the float32 weights that bfloat16 needs from ZeRO 1 on.
    if config.learner.dtype == "float32":
        stage = {"learner.zero_stage": 1} if config.learner.zero_stage == 0 else {}
        yield engines | {"learner.dtype": "bfloat16"} | stage


def _asleep(config: Config) -> Changes:
    """Return what has engines sleep that share a GPU with the learner."""
    stale: Changes = {"rollout.max_staleness": 0} if config.rollout.max_staleness else {}
    return stale | ({} if config.rollout.sleep else {"rollout.sleep": True})


def _of_engines(config: Config) -> Iterator[Changes]:
    """Yield none, then engines that sleep, shares as the plan finds them, fewer replicas, and more GPUs for an engine."""
    rollout = config.rollout
    yield {}
    if awake := _asleep(config):
        yield awake
    given = {f"rollout.{name}": 0.0 for name in ("gpu_memory_fraction", "junior_gpu_memory_fraction") if getattr(rollout, name)}
    if given:
        yield given
    replicas = rollout.replicas // 2
    while replicas:
        yield {"rollout.replicas": replicas}
        replicas //= 2
    gpus = 2
    while gpus <= MOST_TENSOR_PARALLEL:
        wider = {
            role: {f"rollout.{role}_tensor_parallel": gpus}
            for role in ("senior", "junior")
            if getattr(rollout, f"{role}_tensor_parallel") < gpus
        }
        yield from wider.values()
        if len(wider) > 1:
            yield wider["senior"] | wider["junior"]
        gpus *= 2


def _of_learner(config: Config) -> Iterator[Changes]:
    """Yield none, then what costs nothing, and at each price in time more ranks, on GPUs that are idle, before the next."""
    learner = config.learner
    # ZeRO 2 computes the same as ZeRO 1 and lets go of gradients sooner.
    lean: Changes = {"learner.zero_stage": 2} if learner.zero_stage == 1 else {}
    spread: Changes = {"learner.zero_stage": 3} if learner.zero_stage < 3 else {}
    for slower in _distinct({}, _recomputed(config), _smaller(config), _recomputed(config) | _smaller(config)):
        yield from _distinct(slower, lean | slower)
        for more in _more_ranks(config):
            ranks = more.get("learner.ranks", learner.ranks)
            yield from _distinct(more | slower, *[more | spread | slower] * (ranks > 1))


def _distinct(*changes: Changes) -> Iterator[Changes]:
    """Yield each of `changes` once."""
    yield from (each for index, each in enumerate(changes) if each not in changes[:index])


def _offloading(config: Config) -> Iterator[Changes]:
    """Yield ways to keep in the CPU's memory what a rank needs."""
    learner = config.learner
    # ZeRO is what offloads.
    optimizer: Changes = {"learner.zero_stage": max(1, learner.zero_stage), "learner.offload_optimizer": True}
    whole: Changes = {"learner.zero_stage": 3, "learner.offload_optimizer": True, "learner.offload_parameters": True}
    for more in _more_ranks(config):
        if not learner.offload_optimizer:
            yield more | optimizer
            yield more | optimizer | _recomputed(config)
        yield more | whole | _recomputed(config) | _smaller(config)


def _more_ranks(config: Config) -> Iterator[Changes]:
    """Yield none, then more ranks, as many as a mini-batch has rollouts for."""
    mini_batch = config.rollout.prompts_per_step * config.rollout.group_size // config.algo.mini_batches
    yield {}
    ranks = 2 * config.learner.ranks
    while ranks <= min(mini_batch, MOST_RANKS):
        yield {"learner.ranks": ranks}
        ranks *= 2


def _recomputed(config: Config) -> Changes:
    return {} if config.learner.gradient_checkpointing else {"learner.gradient_checkpointing": True}


def _smaller(config: Config) -> Changes:
    """Return smaller micro-batches, down to what is worth it (a longer rollout passes alone), and fewer logits."""
    wanted = {
        "learner.micro_batch_tokens": max(SMALL_MICRO_BATCH, longest_rollout(config)),
        "learner.logprob_chunk_tokens": SMALL_CHUNK,
    }
    given = vars(config.learner)
    return {key: value for key, value in wanted.items() if value < given[key.rpartition(".")[2]]}
