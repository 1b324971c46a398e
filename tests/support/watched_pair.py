"""A rollout actor's real engines, with the metrics that vLLM records while they generate."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

import pytest
from vllm.config import VllmConfig
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.v1.engine.async_llm import AsyncLLM
from vllm.v1.metrics.loggers import AggregateStatLoggerBase, StatLoggerBase
from vllm.v1.metrics.stats import IterationStats, SchedulerStats

from actors.engine_spec import EngineSpec
from actors.turn_exchange import Reader, TurnExchange
from actors.turn_messages import WrittenPart
from tests.support.engine_pair import EnginePair

DEADLINE_S = 10.0


class Watch(StatLoggerBase):
    """The metrics that vLLM records of an engine, and the tokens that its sessions receive."""

    def __init__(self, vllm_config: VllmConfig, engine_index: int = 0) -> None:
        self.kv_cache_usage = 0.0
        self.requests = self.tokens = self.preemptions = 0
        """the peak and the totals since `reset`; a preemption counts when its request resumes"""

    def reset(self) -> None:
        self.requests = self.tokens = self.preemptions = 0

    def record(
        self, scheduler_stats: SchedulerStats | None, iteration_stats: IterationStats | None, *_: Any, **__: Any
    ) -> None:
        if stats := scheduler_stats:
            requests = stats.num_running_reqs + stats.num_waiting_reqs + stats.num_skipped_waiting_reqs
            self.requests = max(self.requests, requests)
            self.kv_cache_usage = stats.kv_cache_usage
            self.preemptions += stats.prefix_cache_stats.preempted_requests

    def log_engine_initialized(self) -> None:
        pass


class NoPrometheus(AggregateStatLoggerBase):
    """Log nothing, in the place of vLLM's Prometheus logger.

    That one unregisters and registers metrics of the whole process, which fails when two engines start at the same time.
    """

    def __init__(self, vllm_config: VllmConfig, engine_indexes: list[int]) -> None:
        pass

    def record(self, *_: Any, **__: Any) -> None:
        pass

    def log_engine_initialized(self) -> None:
        pass


@dataclass(frozen=True)
class CountingReader:
    """A session whose tokens `watch` counts."""

    reader: Reader
    watch: Watch

    def receive(self, part: WrittenPart) -> None:
        self.watch.tokens += len(part.tokens)
        self.reader.receive(part)

    def fail(self, error: Exception) -> None:
        self.reader.fail(error)


def count_tokens(exchange: TurnExchange, watch: Watch) -> None:
    """Count in `watch` the tokens of all sessions opened later."""
    start = exchange.start
    # The instance's own attribute, since other engines of the process are not watched.
    vars(exchange)["start"] = lambda reader, *args: start(CountingReader(reader, watch), *args)


@dataclass(frozen=True)
class WatchedPair:
    """A senior's and a junior's engine, and the metrics of each."""

    pair: EnginePair
    watches: dict[int, Watch]

    def reset(self) -> None:
        for watch in self.watches.values():
            watch.reset()

    async def both_wrote(self, tokens: int) -> None:
        await until(lambda: min(watch.tokens for watch in self.watches.values()) >= tokens)

    async def all_blocks_are_free(self) -> None:
        await until(lambda: max(watch.kv_cache_usage for watch in self.watches.values()) == 0)


@contextmanager
def watched_pair(specs: list[EngineSpec], blocks: Mapping[int, int] | None = None) -> Iterator[WatchedPair]:
    """Start the engines, with a number of KV cache blocks by author if given; end them after the block."""
    watches: dict[int, Watch] = {}

    class WatchedLLM(AsyncLLM):
        @classmethod
        def from_engine_args(cls, engine_args: AsyncEngineArgs, *_: Any, **__: Any) -> Self:
            author = EngineSpec.from_config(engine_args).author

            def watch(vllm_config: VllmConfig, engine_index: int) -> Watch:
                watches[author] = Watch(vllm_config)
                return watches[author]

            if blocks:  # vLLM keeps one for itself
                engine_args.num_gpu_blocks_override = blocks[author] + 1
            return super().from_engine_args(engine_args, stat_loggers=[watch])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("actors.engine.AsyncLLM", WatchedLLM)
        patch.setattr("vllm.v1.metrics.loggers.PrometheusStatLogger", NoPrometheus)
        pair = EnginePair(specs)
    for (author, _), engine in pair.actor._engines.items():
        count_tokens(engine.exchange, watches[author])
    yield WatchedPair(pair, watches)
    pair.close()


async def until(holds: Callable[[], bool]) -> None:
    """Wait until `holds()` is true. Raises `TimeoutError` after `DEADLINE_S`."""
    async with asyncio.timeout(DEADLINE_S):
        while not holds():
            await asyncio.sleep(0.001)
