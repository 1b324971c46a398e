"""Remedies for a run that does not fit: changes of its settings are planned, the mildest first, until one fits."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import ceil, lcm
from typing import Any, Protocol

from tandem.config.schema import Config
from tandem.plan.fit import longest_rollout

Changes = dict[str, Any]
"""New values by key, `section.name`."""
SMALL_MICRO_BATCH = 2048
"""Micro-batches of fewer tokens waste more time than they save memory."""
SMALL_CHUNK = 256
"""The same limit for the tokens whose logits exist at once."""
MOST_TENSOR_PARALLEL, MOST_RANKS = 8, 64
GPU_SIZES = (16, 24, 32, 40, 48, 64, 80, 96, 141, 180, 192, 288)
"""GiB of the GPUs on the market."""


class Fits(Protocol):
    """A test whether a configuration can be planned, on the present GPUs or on the same number of `gpu_gib` each."""

    def __call__(self, changed: Config, gpu_gib: float | None = None) -> bool:
        """Whether `changed` can be planned."""
        ...


def remedy(config: Config, fits: Fits, gpu_gib: float, sequence_splits: Sequence[int]) -> str:
    """Describe the mildest change with which `config` fits on GPUs of `gpu_gib`, or else on the smallest larger ones.

    Add the least GPU memory that the changed run needs, and the smallest larger GPUs on which `config` fits unchanged.
    `sequence_splits` are the numbers of ranks that can split a sequence of the senior.
    """
    candidates = list(_candidates(config, sequence_splits))
    for changes in candidates:
        if fits(smaller := changed(config, changes)):
            needed = f", which needs GPUs of {_least_gib(smaller, fits, gpu_gib)} GiB"
            enough = next((larger for larger in GPU_SIZES if larger > gpu_gib and fits(config, larger)), None)
            return f"use {_shown(changes)}{_reason(changes)}{needed}" + (f", or GPUs of {enough} GiB" if enough else "")
    for larger in GPU_SIZES:
        for changes in [{}, *candidates] if larger > gpu_gib else []:
            if fits(changed(config, changes), larger):
                with_ = f" with {_shown(changes)}" if changes else ""
                return f"no setting makes room: use GPUs of {larger} GiB{with_}, or a smaller model"
    return (
        "no setting makes room: use more GPUs with mode=cluster learner.ranks=N learner.zero_stage=3, for long rollouts "
        "learner.sequence_parallel=N too, or a smaller model"
    )


def _least_gib(config: Config, fits: Fits, gpu_gib: float) -> int:
    """Return the memory of the smallest GPUs on which `config` fits, which it does on those of `gpu_gib`, in whole GiB."""
    return bisect_left(range(ceil(gpu_gib)), True, lo=1, key=lambda gib: fits(config, gib))


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
    return ", so that engines sleep during updates" if sleeps else ""


def _candidates(config: Config, sequence_splits: Sequence[int]) -> Iterator[Changes]:
    """Yield changes of the engines' and the learner's settings, the mildest first.

    Changes that keep the precision come before bfloat16, and changes on the GPUs before those that use the CPU's memory.
    """
    if sleep := _sleep_changes(config):
        yield sleep
    for narrow in _precisions(config):
        for engines in _of_engines(config):
            for learner in _of_learner(config, sequence_splits):
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


def _sleep_changes(config: Config) -> Changes:
    """Return the changes with which engines that share a GPU with the learner sleep during updates; empty if they do so."""
    stale: Changes = {"rollout.max_staleness": 0} if config.rollout.max_staleness else {}
    return stale | ({} if config.rollout.sleep else {"rollout.sleep": True})


def _of_engines(config: Config) -> Iterator[Changes]:
    """Yield none, then sleeping engines, shares chosen by the plan, fewer replicas, and more GPUs per engine."""
    rollout = config.rollout
    yield {}
    if sleep := _sleep_changes(config):
        yield sleep
    reset = {f"rollout.{name}": 0.0 for name in ("gpu_memory_fraction", "junior_gpu_memory_fraction") if getattr(rollout, name)}
    if reset:
        yield reset
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


def _of_learner(config: Config, sequence_splits: Sequence[int]) -> Iterator[Changes]:
    """Yield none, then changes that cost no time, then slower ones; at each speed also more ranks on idle GPUs.

    Last come ranks that split long sequences.
    """
    learner = config.learner
    # ZeRO 2 computes the same as ZeRO 1 and frees gradients earlier.
    lean: Changes = {"learner.zero_stage": 2} if learner.zero_stage == 1 else {}
    spread: Changes = {"learner.zero_stage": 3} if learner.zero_stage < 3 else {}
    for slower in _distinct({}, _recomputed(config), _smaller(config), _recomputed(config) | _smaller(config)):
        yield from _distinct(slower, lean | slower)
        for more in _more_ranks(config):
            ranks = more.get("learner.ranks", learner.ranks)
            yield from _distinct(more | slower, *[more | spread | slower] * (ranks > 1))
    for split in _sequence_parallel(config, sequence_splits):
        slower = _recomputed(config) | _smaller(changed(config, split))
        yield from _distinct(split | spread, split | spread | slower)


def _distinct(*changes: Changes) -> Iterator[Changes]:
    """Yield each of `changes` once."""
    yield from (each for index, each in enumerate(changes) if each not in changes[:index])


def _offloading(config: Config) -> Iterator[Changes]:
    """Yield ways to offload a rank's state to the CPU's memory."""
    learner = config.learner
    # Only ZeRO offloads.
    optimizer: Changes = {"learner.zero_stage": max(1, learner.zero_stage), "learner.offload_optimizer": True}
    whole: Changes = {"learner.zero_stage": 3, "learner.offload_optimizer": True, "learner.offload_parameters": True}
    for more in _more_ranks(config):
        if not learner.offload_optimizer:
            yield more | optimizer
            yield more | optimizer | _recomputed(config)
        yield more | whole | _recomputed(config) | _smaller(config)


def _more_ranks(config: Config) -> Iterator[Changes]:
    """Yield none, then more ranks, up to one, or one group of ranks that split sequences, per rollout of a mini-batch."""
    mini_batch = config.rollout.prompts_per_step * config.rollout.group_size // config.algo.mini_batches
    yield {}
    ranks = 2 * config.learner.ranks
    while ranks <= min(mini_batch * config.learner.sequence_parallel, MOST_RANKS):
        yield {"learner.ranks": ranks}
        ranks *= 2


def _sequence_parallel(config: Config, sequence_splits: Sequence[int]) -> Iterator[Changes]:
    """Yield more ranks that split each sequence, while a part of the longest rollout is longer than a small micro-batch."""
    learner = config.learner
    for size in sequence_splits:
        split = {"learner.ranks": lcm(learner.ranks, size), "learner.sequence_parallel": size}
        if learner.sequence_parallel < size <= MOST_RANKS and longest_rollout(config) > SMALL_MICRO_BATCH:
            yield split


def _recomputed(config: Config) -> Changes:
    return {} if config.learner.gradient_checkpointing else {"learner.gradient_checkpointing": True}


def _smaller(config: Config) -> Changes:
    """Return the smallest useful micro-batches, no shorter than a rank's part of a rollout, and smaller chunks of logits."""
    smallest = {
        "learner.micro_batch_tokens": max(SMALL_MICRO_BATCH, longest_rollout(config)),
        "learner.logprob_chunk_tokens": SMALL_CHUNK,
    }
    current = vars(config.learner)
    return {key: value for key, value in smallest.items() if value < current[key.rpartition(".")[2]]}
