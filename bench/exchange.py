"""Measure the cost of the Python around the tokens: tandem and solo on engines that compute nothing.

    python -m bench.exchange --json

docs/cogeneration.md explains the figures.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import cast

import uvloop
from rich.console import Console
from rich.table import Table

from bench.engines import EnginePair, WritingTime, engine_pair, measure
from bench.modes import shortened, solo_two_devices, tandem
from bench.null_engine import NullEngine
from bench.report import Figures, benchmark_parser, print_figures
from bench.workload import WARM_UP_TOKENS, Workload, prepare
from launch.text_tables import terminal_table
from tandem.cogeneration import Limits
from tandem.schedule import WHOLE_TEXT, Schedule

NULL_ENGINE = "bench.null_engine:NullEngine"
ALTERNATES = Schedule(alternates=True, max_gap_tokens=WHOLE_TEXT)
"""The pen passes at every boundary, so that the share of boundaries sets the length of turns."""
REPEATS = 3
MODES = {"tandem": tandem, "solo": solo_two_devices}
"""`solo` keeps both engines busy, each with half of the rollouts."""


@dataclass(frozen=True)
class ExchangePoint:
    """Rollouts to write: their number, their length, and the mean number of tokens a turn in tandem."""

    rollouts: int
    tokens: int
    turn: int

    @property
    def name(self) -> str:
        """Return the suffix of the point's figures."""
        return f"{self.rollouts}x{self.tokens}_turn{self.turn}"


HEADLINE = ExchangePoint(64, 256, 3)
"""The point whose figures have no suffix."""
POINTS = (
    HEADLINE,
    *(ExchangePoint(64, 256, turn) for turn in (1, 10, 50)),
    *(ExchangePoint(rollouts, 256, 3) for rollouts in (16, 256)),
    *(ExchangePoint(16, tokens, 3) for tokens in (2_048, 16_384)),
)
"""Turns, rollouts and lengths, one varied at a time."""


@dataclass(frozen=True)
class ExchangeCost:
    """Medians over the repeats of one mode at one point; CPU times in microseconds a token of all authors."""

    tokens_per_s: float
    driver_us: float
    engines_us: float
    """of both engines' processes together"""
    tokens_per_turn: float

    @property
    def tokens_per_cpu_s(self) -> float:
        """Return the tokens per second of CPU time of all processes, which a shared machine changes less than the clock."""
        return 1e6 / (self.driver_us + self.engines_us)


def cost(runs: Sequence[WritingTime]) -> ExchangeCost:
    """Return the medians of `runs`, the repeats of one mode at one point."""

    def us(run: WritingTime, busy: float) -> float:
        return 1e6 * busy * run.seconds / run.tokens

    return ExchangeCost(
        tokens_per_s=median(run.tokens_per_s for run in runs),
        driver_us=median(us(run, run.busy_exchange) for run in runs),
        engines_us=median(us(run, run.busy_senior + run.busy_junior) for run in runs),
        tokens_per_turn=median(run.tokens / (run.handoffs + run.rollouts) for run in runs),
    )


def workload() -> Workload:
    """Return the workload of the largest point, from which the others are cut. vLLM accepts its length from then on."""
    os.environ["VLLM_ALLOW_LONG_MAX_MODEL_LEN"] = "1"  # the model is never run
    rollouts, tokens = max(point.rollouts for point in POINTS), max(point.tokens for point in POINTS)
    work = prepare("tiny", rollouts, WARM_UP_TOKENS)
    context = work.limits.context - WARM_UP_TOKENS + tokens
    specs = {
        author: replace(spec, max_model_len=context, stream_interval=context, kv_cache_gib=0.25)
        for author, spec in work.specs.items()
    }
    return replace(work, schedule=ALTERNATES, specs=specs, limits=Limits(tokens, context, frozenset()))


async def costs(points: Sequence[ExchangePoint], repeats: int) -> AsyncIterator[tuple[ExchangePoint, dict[str, ExchangeCost]]]:
    """Yield each of `points` with the cost of each mode. The modes alternate, so that a slow moment affects both."""
    work = workload()
    async with engine_pair(work.specs, NULL_ENGINE) as pair:
        for mode, write in MODES.items():
            await write(pair, shortened(work, WARM_UP_TOKENS), f"{mode}-warm-up")
        for point in points:
            cut = await at_point(pair, work, point)
            runs: dict[str, list[WritingTime]] = {mode: [] for mode in MODES}
            for repeat in range(repeats if point.tokens == HEADLINE.tokens else 1):
                for mode, write in MODES.items():
                    runs[mode].append(await measure(write(pair, cut, f"{mode}-{point.name}-{repeat}"), pair.processes))
            yield point, {mode: cost(repeated) for mode, repeated in runs.items()}


async def at_point(pair: EnginePair, work: Workload, point: ExchangePoint) -> Workload:
    """Return the rollouts of `point`, cut from `work`, and set the engines to its length of turns."""
    for engine in pair.engines.values():
        await cast(NullEngine, engine).set_boundary_share(1 / point.turn)
    return replace(shortened(work, point.tokens), prompts=work.prompts[: point.rollouts])


def figures(results: dict[ExchangePoint, dict[str, ExchangeCost]]) -> Figures:
    """Return the figures of each point; those of `HEADLINE` without a suffix."""
    shown: Figures = {}
    for point, modes in results.items():
        suffix = "" if point == HEADLINE else f"_{point.name}"
        tandem, solo = modes["tandem"], modes["solo"]
        shown |= {
            f"exchange_over_solo{suffix}": round(tandem.tokens_per_s / solo.tokens_per_s, 3),
            f"exchange_over_solo_cpu{suffix}": round(tandem.tokens_per_cpu_s / solo.tokens_per_cpu_s, 3),
            f"driver_us_per_token{suffix}": round(tandem.driver_us, 1),
            f"engines_us_per_token{suffix}": round(tandem.engines_us, 1),
            f"tokens_per_s{suffix}": round(tandem.tokens_per_s),
            f"tokens_per_turn{suffix}": round(tandem.tokens_per_turn, 2),
            f"solo_driver_us_per_token{suffix}": round(solo.driver_us, 1),
            f"solo_engines_us_per_token{suffix}": round(solo.engines_us, 1),
            f"solo_tokens_per_s{suffix}": round(solo.tokens_per_s),
        }
    return shown


def table(results: dict[ExchangePoint, dict[str, ExchangeCost]]) -> Table:
    """Return a table with a row for each point; CPU times are in microseconds a token, of both engines together."""
    header = ("rollouts", "tokens", "a turn", "tokens/s", "solo", "ratio", "by CPU time", "driver", "solo", "engines", "solo")

    def row(point: ExchangePoint, tandem: ExchangeCost, solo: ExchangeCost) -> list[str]:
        speeds = [f"{tandem.tokens_per_s:,.0f}", f"{solo.tokens_per_s:,.0f}", f"{tandem.tokens_per_s / solo.tokens_per_s:.2f}"]
        cpu = (tandem.driver_us, solo.driver_us, tandem.engines_us, solo.engines_us)
        by_cpu = f"{tandem.tokens_per_cpu_s / solo.tokens_per_cpu_s:.2f}"
        sizes = [f"{point.rollouts}", f"{point.tokens:,}", f"{tandem.tokens_per_turn:.1f}"]
        return [*sizes, *speeds, by_cpu, *(f"{us:.1f}" for us in cpu)]

    rows = (row(point, modes["tandem"], modes["solo"]) for point, modes in results.items())
    return terminal_table(header, rows, title="The exchange", left=0)


async def _measure(points: Sequence[ExchangePoint], repeats: int) -> dict[ExchangePoint, dict[str, ExchangeCost]]:
    return {point: modes async for point, modes in costs(points, repeats)}


def main() -> None:
    """Measure every point and print the figures."""
    parser = benchmark_parser("exchange", __doc__)
    parser.add_argument("--repeats", type=int, default=REPEATS, help="of each mode, in short texts (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="measure the first point alone")
    options = parser.parse_args()
    results = uvloop.run(_measure(POINTS[:1] if options.quick else POINTS, options.repeats))
    console = Console()
    console.print(table(results))
    print_figures({"repeats": options.repeats, **figures(results)}, console, as_json=options.json)


if __name__ == "__main__":
    main()
