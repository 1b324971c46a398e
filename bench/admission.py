"""Compare two admissions on the same engines and KV caches: by expected length, and by reserving room for the longest text.

    python -m bench.admission --json

docs/cogeneration.md explains the figures.
"""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from itertools import count
from statistics import median

import psutil
import uvloop
from rich.console import Console
from rich.table import Table

from actors.admission import Admission, KVCache
from actors.group_task import GroupTask
from actors.rollout import RolloutActor
from bench.engines import WritingTime, measure
from bench.report import Figures, benchmark_parser, print_figures
from bench.workload import Workload, kv_cache_gib, prepare
from launch.text_tables import terminal_table
from tandem.config.rollout import SamplingConfig
from tandem.rollout import JUNIOR, SENIOR, Problem, Prompt, Rollout

LONGEST = 512
"""The most tokens of a rollout."""
FULL_LENGTH_TEXTS = 4
"""The texts of full length that each KV cache holds."""
MEAN_SHARE = 0.354
"""The mean of an exponential distribution, as a share of `LONGEST`: cut to `LONGEST`, its values have a third of it as mean."""
ROLLOUTS = {"real_lengths": 48, "worst_case": 12}
"""Rollouts to write: of lengths as in real rollouts, and all of full length."""
RATIOS = {"real_lengths": "admission_over_reserved", "worst_case": "admission_worst_case"}
REPEATS = 3
Runs = Mapping[str, Sequence[WritingTime]]
"""The repeats of each admission: `need` and `reserved`."""


def lengths(case: str) -> list[int]:
    """Return the lengths of the rollouts of `case`, a key of `ROLLOUTS`."""
    rng = random.Random(1)
    if case == "worst_case":
        return [LONGEST] * ROLLOUTS[case]
    return [min(LONGEST, 1 + int(rng.expovariate(1 / (MEAN_SHARE * LONGEST)))) for _ in range(ROLLOUTS[case])]


def workload() -> Workload:
    """Return the workload of the larger case, on engines whose KV caches hold few texts of full length."""
    work = prepare("tiny", max(ROLLOUTS.values()), LONGEST)
    spec = work.specs[SENIOR]
    gib = kv_cache_gib(spec.model, spec.dtype, FULL_LENGTH_TEXTS, spec.max_model_len)
    return replace(work, specs={author: replace(spec, kv_cache_gib=gib) for author, spec in work.specs.items()})


def reserved(cache: KVCache) -> Admission:
    """Return an admission of as many rollouts as `cache` holds at full length."""
    places = cache.blocks // cache.blocks_of(1.0)
    return Admission(KVCache(places, 1, 1), places)


async def measure_all(repeats: int) -> AsyncIterator[tuple[str, Runs]]:
    """Yield the runs of each case. The admissions alternate, so that a slow moment affects both.

    Admission by need has seen texts of the lengths of real rollouts before, also in the worst case.
    """
    work, tags = workload(), count()
    actor = RolloutActor(list(work.specs.values()))
    await actor.start()
    pids = {name: location.pid for name, location in (await actor.processes()).items()}
    processes = {SENIOR: psutil.Process(pids[", senior engine"]), JUNIOR: psutil.Process(pids[", junior engine"])}
    caches = {key: engine.kv_cache() for key, engine in actor._engines.items()}

    async def write(lengths: Sequence[int]) -> list[Rollout]:
        tag = next(tags)
        tasks = [
            GroupTask(
                Prompt(Problem(f"{tag}/{i}", "", ""), work.prompts[i]),
                (f"{tag}/{i}",),
                (i,),
                work.schedule,
                SamplingConfig(1.0, length),
            )
            for i, length in enumerate(lengths)
        ]
        return [rollout for group in await asyncio.gather(*map(actor.write_group, tasks)) for rollout in group.rollouts]

    admissions = {
        "need": dict(actor.admissions),
        "reserved": {key: reserved(cache) for key, cache in caches.items()},
    }
    try:
        await write(lengths("real_lengths"))
        for case in ROLLOUTS:
            runs: dict[str, list[WritingTime]] = {name: [] for name in admissions}
            for _ in range(repeats):
                for name, chosen in admissions.items():
                    actor.admissions.update(chosen)
                    runs[name].append(run := await measure(write(lengths(case)), processes))
                    print(f"{case}, {name}: {run.tokens_per_s:,.0f} tokens/s", file=sys.stderr, flush=True)
            yield case, runs
    finally:
        await actor.close()


def tokens_per_cpu_s(run: WritingTime) -> float:
    """Return the tokens per second of CPU time of all processes, which other work on the machine affects less."""
    return run.tokens_per_s / (run.busy_senior + run.busy_junior + run.busy_exchange)


def figures(cases: Mapping[str, Runs]) -> Figures:
    """Return the medians of all cases and their ratios."""
    results: Figures = {}
    for case, runs in cases.items():
        speeds = {name: median(run.tokens_per_s for run in repeats) for name, repeats in runs.items()}
        thrift = {name: median(map(tokens_per_cpu_s, repeats)) for name, repeats in runs.items()}
        results[RATIOS[case]] = round(speeds["need"] / speeds["reserved"], 3)
        results[f"{RATIOS[case]}_cpu"] = round(thrift["need"] / thrift["reserved"], 3)
        results |= {f"{case}_{name}_tokens_per_s": round(speed) for name, speed in speeds.items()}
    return results


def table(results: Figures) -> Table:
    """Return a table with a row for each case."""
    header = ("rollouts", "tokens/s", "reserved", "ratio", "by CPU time")
    rows = [
        [
            case,
            f"{results[f'{case}_need_tokens_per_s']:,}",
            f"{results[f'{case}_reserved_tokens_per_s']:,}",
            *(f"{results[name]:.2f}" for name in (RATIOS[case], f"{RATIOS[case]}_cpu")),
        ]
        for case in ROLLOUTS
    ]
    return terminal_table(header, rows, title="Admission")


async def _measure(repeats: int) -> dict[str, Runs]:
    return {case: runs async for case, runs in measure_all(repeats)}


def main() -> None:
    """Measure both cases and print the figures."""
    parser = benchmark_parser("admission", __doc__)
    parser.add_argument("--repeats", type=int, default=REPEATS, help="of each admission (default: %(default)s)")
    options = parser.parse_args()
    results = figures(uvloop.run(_measure(options.repeats)))
    console = Console()
    console.print(table(results))
    print_figures({"repeats": options.repeats, **results}, console, as_json=options.json)


if __name__ == "__main__":
    main()
