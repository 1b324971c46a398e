"""Speed of a weight sync, against a memcpy of equally many bytes on equally many threads in the same run.

    python -m bench.publish --model smollm2 --json

A real learner publishes through shared memory to a real engine. docs/publishing.md explains the figures.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import NamedTuple, cast

import numpy as np
import torch
import uvloop
from rich.console import Console
from rich.table import Table

from actors.engine import Engine
from actors.engine_layout import engine_specs
from bench.engines import engine_pair
from bench.processes import servers
from bench.report import Figures, benchmark_parser, print_figures
from launch.cluster.environment import set_environment
from launch.cluster.locks import SEGMENT, claimed_file
from launch.entry import configuration
from launch.text_tables import terminal_table
from tandem.authors import load_authors
from tandem.config.schema import Config
from tandem.rollout import SENIOR
from tandem.runtime.segment import segment_folder
from tandem.runtime.weights import PublishedWeights

MODELS = ("smollm2", "tiny")
CLEAR_PEAK = "5"
"""The value that resets the peak memory of a process in its `clear_refs`."""


class Round(NamedTuple):
    """The parts of one weight sync, in seconds."""

    write: float
    """the learner's `publish`, with gathering under ZeRO-3"""
    map: float
    """the message and the engine's mapping"""
    check: float
    """the engine's check of the mapped bytes"""
    load: float
    """the engine's own load and repacking"""
    pause: float
    """all of the engine's `receive_weights`"""
    memcpy: float


class TimedEngine(Engine):
    """The engine that training uses, with timers for the parts of `receive_weights`."""

    async def map_weights(self, published: PublishedWeights) -> None:
        """Time the call of `Engine`."""
        start = time.perf_counter()
        await super().map_weights(published)
        self.map_s = time.perf_counter() - start

    async def check_weights(self) -> None:
        """Time the call of `Engine`."""
        start = time.perf_counter()
        await super().check_weights()
        self.check_s = time.perf_counter() - start

    async def load_weights(self) -> None:
        """Time the call of `Engine`."""
        start = time.perf_counter()
        await super().load_weights()
        self.load_s = time.perf_counter() - start


def serve(config: Config, path: str, rank: int, segment: Path, pipe: Connection) -> None:
    """Run a rank of the learner in a separate process: publish each version received; send the message, seconds and MiB."""
    set_environment(config.cache_path)
    os.environ["DS_ACCELERATOR"] = "cpu"
    from learner.rank import Rank, RankSpec

    ranks = config.learner.ranks
    member = Rank(config, RankSpec(rank, ranks, path, segment, threads=max(1, threads() // ranks)))
    if rank == 0:
        pipe.send(member.rendezvous())
    member.join(*pipe.recv())
    member.load()
    pipe.send(None)
    while (version := pipe.recv()) is not None:
        with torch.no_grad():
            for parameter in member.updater.engine.module.model.parameters():
                getattr(parameter, "ds_tensor", parameter).mul_(1.001)
        Path("/proc/self/clear_refs").write_text(CLEAR_PEAK, encoding="utf-8")
        before, start = resident("VmRSS"), time.perf_counter()
        published = member.publish(version)
        seconds = time.perf_counter() - start
        pipe.send((published, seconds, resident("VmHWM") - before))
    member.close()


def resident(field: str) -> float:
    """Return this process's resident memory in MiB: `VmRSS` now, `VmHWM` at its peak."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 2**10


def threads() -> int:
    """Return the number of cores of this process."""
    return len(os.sched_getaffinity(0))


@contextmanager
def learner(config: Config, path: str) -> Iterator[Callable[[int], tuple[PublishedWeights, float, float]]]:
    """Start the learner's ranks; yield a function that publishes a version and returns message, seconds and peak MiB."""
    with (
        claimed_file(segment_folder(), SEGMENT) as segment,
        servers(serve, [(config, path, rank, segment) for rank in range(config.learner.ranks)]) as pipes,
    ):

        def ask_all(message: object) -> list:
            for pipe in pipes:
                pipe.send(message)
            return [pipe.recv() for pipe in pipes]

        ask_all(pipes[0].recv())
        yield lambda version: ask_all(version)[0]


class Memcpy:
    """A memcpy of `nbytes` between two tensors with resident pages; each thread copies its share."""

    def __init__(self, nbytes: int) -> None:
        self._from, self._to = (torch.full((nbytes,), value, dtype=torch.uint8).numpy() for value in (1, 0))
        share = -(-nbytes // threads())
        self._shares = [slice(first, first + share) for first in range(0, nbytes, share)]
        self._pool = ThreadPoolExecutor(threads())

    def seconds(self) -> float:
        """Copy once and return the seconds."""
        start = time.perf_counter()
        list(self._pool.map(lambda share: np.copyto(self._to[share], self._from[share]), self._shares))
        return time.perf_counter() - start


async def measured(config: Config, repeats: int) -> tuple[list[Round], Figures]:
    """Publish `repeats` versions after a warm-up; return the rounds and further figures."""
    authors = load_authors(config)
    spec = replace(engine_specs(config, authors, "cpu")[0][0], cores=tuple(sorted(os.sched_getaffinity(0))))
    rounds, peaks = [], []
    with learner(config, str(authors.senior)) as publish:
        async with engine_pair({SENIOR: spec}, "bench.publish:TimedEngine") as pair:
            engine = cast(TimedEngine, pair.engines[SENIOR])
            copy: Memcpy | None = None
            for version in range(1, repeats + 2):
                published, write_s, peak = await asyncio.to_thread(publish, version)
                start = time.perf_counter()
                await engine.receive_weights(published)
                pause_s = time.perf_counter() - start
                copy = copy or Memcpy(published.layout.nbytes)
                copy.seconds()  # warms the caches
                rounds.append(Round(write_s, engine.map_s, engine.check_s, engine.load_s, pause_s, copy.seconds()))
                peaks.append(peak)
    bytes_mb = published.layout.nbytes / 1e6
    return rounds[1:], {"bytes_mb": round(bytes_mb, 1), "threads": threads(), "peak_extra_mib": round(max(peaks[1:]), 1)}


def figures(rounds: list[Round]) -> Figures:
    """Return medians over the rounds.

    `publish_over_memcpy` is the time of the memcpy over the time of the learner's write and the engine's map.
    `publish_and_check_over_memcpy` adds the engine's check of every byte to the latter time.
    """
    memcpy_s, publish_s = median(each.memcpy for each in rounds), median(each.write + each.map for each in rounds)
    checked_s = median(each.write + each.map + each.check for each in rounds)
    return {
        "publish_over_memcpy": round(memcpy_s / publish_s, 3),
        "publish_and_check_over_memcpy": round(memcpy_s / checked_s, 3),
        "publish_s": round(publish_s, 4),
        "write_s": round(median(each.write for each in rounds), 4),
        "map_s": round(median(each.map for each in rounds), 4),
        "check_s": round(median(each.check for each in rounds), 4),
        "memcpy_s": round(memcpy_s, 4),
        "load_s": round(median(each.load for each in rounds), 4),
        "engine_pause_s": round(median(each.pause for each in rounds), 4),
    }


def table(rounds: list[Round]) -> Table:
    """Return a table of every round's parts."""
    rows = ([f"{seconds:.3f}" for seconds in each] for each in rounds)
    return terminal_table(Round._fields, rows, title="Parts of a weight sync, in seconds")


def main() -> None:
    """Measure as the command line specifies, and print the figures."""
    parser = benchmark_parser("publish", __doc__)
    parser.add_argument("--model", choices=MODELS, default="smollm2", help="in float32 (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=9, help="medians are reported (default: %(default)s)")
    parser.add_argument("--ranks", type=int, default=1, help="of the learner (default: %(default)s)")
    parser.add_argument("--zero-stage", type=int, choices=range(4), default=1, help="of the learner (default: %(default)s)")
    parser.add_argument("--bucket-mib", type=int, default=Config().learner.publish_bucket_mib, help="(default: %(default)s)")
    options = parser.parse_args()
    overrides = [f"ranks={options.ranks}", f"zero_stage={options.zero_stage}", f"publish_bucket_mib={options.bucket_mib}"]
    config = configuration(
        [f"model={options.model}", "model.dtype=float32", "mode.device=cpu", *(f"learner.{each}" for each in overrides)]
    )
    set_environment(config.cache_path)
    rounds, results = uvloop.run(measured(config, options.repeats))
    console = Console()
    console.print(table(rounds))
    settings = {
        "model": options.model,
        "ranks": options.ranks,
        "zero_stage": options.zero_stage,
        "bucket_mib": options.bucket_mib,
    }
    print_figures(settings | figures(rounds) | results, console, as_json=options.json)


if __name__ == "__main__":
    main()
