"""Throughput of two engines that write one text, against alternatives.

    python -m bench.cogen --model smollm2 --rollouts 64 --tokens 64 --json     throughput of every mode
    python -m bench.cogen --model tiny --long --json                           one handoff's latency in a long text
    python -m bench.cogen --model smollm2 --sweep                              curves, drawn in docs/results

docs/cogeneration.md explains the figures.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import uvloop
from rich.console import Console

from bench import sweep
from bench.engines import EnginePair, WritingTime, engine_pair, measure
from bench.latency import TOKENS, handoff_latencies
from bench.modes import MODES, Mode, shortened, solo, tandem
from bench.report import Figures, benchmark_parser, figures, print_figures, table
from bench.shared import RANKS, shared, shared_engine
from bench.translated import translated
from bench.workload import DTYPES, WARM_UP_TOKENS, Workload, dtype, prepare
from tandem.schedule import SCHEDULES

DUAL, TRANSLATED = "dual", "translated"
LONG_ROLLOUTS = 1
"""A handoff's latency is measured with one rollout at a time."""
REPEATS = 3
TIME_S = 560.0
"""Time limit unless the repeats are given: no round starts that would end later."""
DUAL_SHARE = 0.25
"""Approximate time of `dual`, as a share of a round of the other modes."""


async def throughput(work: Workload, modes: Sequence[str], repeats: int | None = None) -> dict[str, list[WritingTime]]:
    """Measure each mode `repeats` times (None: `REPEATS`, or fewer within `TIME_S`), after a warm-up.

    They alternate, so that a slow moment of the machine affects them all; `dual` alone runs last. With each mode on a shared
    engine, solo writing on that engine is measured too, as `MODE_solo`.
    """
    start, rounds = time.monotonic(), 0
    async with AsyncExitStack() as stack:
        ways: dict[str, tuple[Mode, EnginePair]] = {}
        if on_pair := [mode for mode in modes if mode in MODES]:
            pair = await stack.enter_async_context(engine_pair(work.specs))
            ways |= {mode: (MODES[mode], pair) for mode in on_pair}
        if TRANSLATED in modes:
            ways[TRANSLATED] = await stack.enter_async_context(translated(work))
        for mode in sorted(RANKS.keys() & modes):
            both = await stack.enter_async_context(shared_engine(work, RANKS[mode]))
            ways |= {mode: (shared, both), f"{mode}_solo": (solo, both)}
        runs: dict[str, list[WritingTime]] = {mode: [] for mode in ways}
        for mode, (write, engines) in ways.items():
            await write(engines, shortened(work, WARM_UP_TOKENS), f"{mode}-warm-up")
        started = time.monotonic()
        while rounds < (repeats or REPEATS):
            for mode, (write, engines) in ways.items():
                runs[mode].append(await measure(write(engines, work, f"{mode}-{rounds}"), engines.processes))
            rounds += 1
            now = time.monotonic()
            round_s = (now - started) / rounds
            dual_s = (started - start) + (rounds + 1) * round_s * DUAL_SHARE if DUAL in modes else 0.0
            if repeats is None and now + round_s + dual_s > start + TIME_S:
                break
    if DUAL in modes:
        from bench.dual import dual_engine

        async with dual_engine(work) as (engine, processes):
            await engine.write(shortened(work, WARM_UP_TOKENS), "warm-up")
            runs[DUAL] = [await measure(engine.write(work, str(repeat)), processes) for repeat in range(rounds)]
    return runs


async def latency(work: Workload, repeats: int) -> Figures:
    """Measure the figures of `--long`."""
    timed = {author: replace(spec, stream_interval=1) for author, spec in work.specs.items()}  # each token is returned at once
    async with engine_pair(timed) as pair:
        await tandem(pair, shortened(work, WARM_UP_TOKENS), "warm-up")
        return await handoff_latencies(pair, work, repeats)


async def curves(model: str, tokens: int, repeats: int, folder: Path, console: Console) -> Figures:
    """Measure the sweep of `--sweep`, save it in `folder` and draw it."""
    from bench.curves import redraw

    points = []
    async for point in sweep.sweep(model, tokens, repeats):
        console.print(f"{point.axis}={point.value:g} {point.mode}: {point.tokens_per_s:.0f} tokens/s")
        points.append(point)
    sweep.save(points, folder)
    redraw(folder)
    return {"tokens_per_rollout": tokens, "points": len(points), "folder": str(folder)}


def main() -> None:
    """Measure as the command line specifies, and print the figures."""
    options = _options()
    console = Console()
    if options.long:
        repeats = options.repeats or REPEATS
        results = uvloop.run(latency(prepare(options.model, LONG_ROLLOUTS, TOKENS), repeats))
    elif options.sweep:
        repeats = options.repeats or sweep.REPEATS
        results = uvloop.run(curves(options.model, options.tokens, repeats, options.out, console))
    else:
        work = prepare(
            options.model,
            options.rollouts,
            options.tokens,
            options.schedule,
            device=options.device,
            eager=options.eager or options.device == "cpu",
        )
        runs = uvloop.run(throughput(work, options.modes, options.repeats))
        console.print(table(runs))
        repeats = min(map(len, runs.values()))
        results = {"rollouts": options.rollouts, "tokens_per_rollout": options.tokens, **figures(runs)}
    results = {"model": options.model, "dtype": dtype(options.model), "repeats": repeats, **results}
    print_figures(results, console, as_json=options.json)


def _options() -> argparse.Namespace:
    parser = benchmark_parser("cogen", __doc__)
    parser.add_argument("--model", default="smollm2", help=f"{', '.join(DTYPES)}, or a directory (default: %(default)s)")
    parser.add_argument("--schedule", choices=SCHEDULES, default="word", help="of the tandem modes (default: %(default)s)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="(default: %(default)s)")
    parser.add_argument("--eager", action="store_true", help="without CUDA graphs")
    parser.add_argument("--rollouts", type=_positive, default=64, help="written at the same time (default: %(default)s)")
    parser.add_argument("--tokens", type=_positive, help=f"length of every rollout (default: 64, in a sweep {sweep.TOKENS})")
    parser.add_argument(
        "--repeats",
        type=_positive,
        help=f"of each mode; medians are reported (default: {REPEATS}, fewer on a slow machine; in a sweep {sweep.REPEATS})",
    )
    parser.add_argument(
        "--modes",
        nargs="+",
        choices=[*MODES, TRANSLATED, *RANKS, DUAL],
        default=[*MODES, DUAL],
        metavar="MODE",
        help="default: %(default)s",
    )
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--long", action="store_true", help="one handoff's latency early and late in a long text instead")
    instead.add_argument("--sweep", action="store_true", help="curves over rollouts, turn length and prob_senior instead")
    parser.add_argument("--out", type=Path, default=Path("docs/results"), help="folder of a sweep (default: %(default)s)")
    options = parser.parse_args()
    options.tokens = options.tokens or (sweep.TOKENS if options.sweep else 64)
    return options


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text}: give a whole number of at least 1")
    return number


if __name__ == "__main__":
    main()
