"""A pair of real engines driven by the benchmark's process, and measurements of their writing."""

from __future__ import annotations

import asyncio
import importlib
import time
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil

from actors.engine_spec import EngineSpec
from tandem.rollout import JUNIOR, SENIOR, Rollout
from tandem.runtime.imports import freeze_imports

if TYPE_CHECKING:
    from actors.engine import Engine
    from actors.engine_session import EngineSession
    from tandem.config.rollout import SamplingConfig

ENGINE = "actors.engine:Engine"
"""The engine that training uses."""


@dataclass(frozen=True)
class EnginePair:
    """A started senior and junior engine, and their processes."""

    engines: dict[int, Engine]
    processes: dict[int, psutil.Process]

    def sessions(self, rollout_id: str, sampling: SamplingConfig, authors: Sequence[int]) -> dict[int, EngineSession]:
        """Return linked sessions of `authors` for one rollout."""
        from actors.engine_session import link

        sessions = {author: self.engines[author].session(rollout_id, sampling) for author in authors}
        link(sessions)
        return sessions


@dataclass(frozen=True)
class WritingTime:
    """One batch of rollouts: its size, its time, and the share of the time in which each process computed."""

    rollouts: int
    tokens: int
    handoffs: int
    seconds: float
    busy_senior: float
    busy_junior: float
    busy_exchange: float
    """of this process: the pens, the sessions and vLLM's front end of both engines"""

    @property
    def tokens_per_s(self) -> float:
        """Return the tokens per second of all authors together."""
        return self.tokens / self.seconds


@asynccontextmanager
async def engine_pair(specs: dict[int, EngineSpec], engine: str = ENGINE) -> AsyncIterator[EnginePair]:
    """Start an engine of the class `engine` (MODULE:NAME) for each author, and close them at the end.

    On CPUs both start at once. On a GPU an engine measures the free memory while it starts.
    """
    # Imported here: vLLM reads the environment at its import.
    from actors.fork_server import set_vllm_environment

    set_vllm_environment()
    module, name = engine.split(":")
    build = getattr(importlib.import_module(module), name)
    freeze_imports()  # as rollout actors do
    engines: dict[int, Engine] = {}
    at_once = asyncio.Semaphore(1 if any(spec.device == "cuda" for spec in specs.values()) else len(specs))

    async def start(author: int, spec: EngineSpec) -> None:
        async with at_once:
            engines[author] = await asyncio.to_thread(build, spec)

    try:
        await asyncio.gather(*(start(*item) for item in specs.items()))
        yield EnginePair(engines, {author: psutil.Process(engine.pid) for author, engine in engines.items()})
    finally:
        await asyncio.gather(*(asyncio.to_thread(each.close) for each in engines.values()))


async def measure(writing: Awaitable[Sequence[Rollout]], processes: dict[int, psutil.Process]) -> WritingTime:
    """Await `writing` and return its measurements, with the engines in `processes`."""
    watched = [psutil.Process(), *(processes[author] for author in (SENIOR, JUNIOR) if author in processes)]
    start, before = time.perf_counter(), [_cpu_seconds(process) for process in watched]
    rollouts = await writing
    seconds = time.perf_counter() - start
    busy = [(_cpu_seconds(process) - spent) / seconds for process, spent in zip(watched, before, strict=True)]
    return WritingTime(
        rollouts=len(rollouts),
        tokens=sum(map(len, rollouts)),
        handoffs=sum(rollout.handoffs for rollout in rollouts),
        seconds=seconds,
        busy_exchange=busy[0],
        busy_senior=busy[1],
        busy_junior=busy[2] if len(busy) > 2 else 0.0,
    )


def bound_process(started: set[psutil.Process], spec: EngineSpec) -> psutil.Process:
    """Return the engine's process: of those bound to its cores, the one with the most CPU time."""
    return max((p for p in started if p.cpu_affinity() == list(spec.cores)), key=_cpu_seconds)


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system
