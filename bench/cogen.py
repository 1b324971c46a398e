"""How fast two engines write one text, against what one would do instead.

    python -m bench.cogen --model smollm2 --rollouts 64 --tokens 64 --json     throughput of every mode
    python -m bench.cogen --model tiny --long --json                           one handoff's latency in a long text

docs/cogeneration.md explains the figures. The exit code is 0 whatever they are.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from contextlib import AsyncExitStack

import uvloop
from rich.console import Console

from bench.engines import Measured, engine_pair, measure
from bench.latency import TOKENS, handoff_latencies
from bench.modes import MODES, shortened, tandem
from bench.report import Figures, figures, machine, table
from bench.workload import DTYPES, WARM_UP_TOKENS, Workload, prepare

DUAL, VARIANT = "dual", "tandem_variant"
LONG_ROLLOUTS = 1
"""A handoff's own latency is measured without company."""


async def throughput(work: Workload, modes: Sequence[str], repeats: int, variant: str = "") -> dict[str, list[Measured]]:
    """`repeats` measurements of each mode, after a short one to warm up.

    The modes on the pair of engines take turns, so that a slow moment of the machine meets them all; `dual` comes last, with
    the machine to itself. `variant` (MODULE:CLASS) names another engine class, which writes as the mode `tandem_variant`.
    """
    runs: dict[str, list[Measured]] = {mode: [] for mode in modes}
    async with AsyncExitStack() as stack:
        pair = await stack.enter_async_context(engine_pair(work.specs))
        ways = {mode: (MODES[mode], pair) for mode in modes if mode != DUAL}
        if variant:
            ways[VARIANT] = (tandem, await stack.enter_async_context(engine_pair(work.specs, variant)))
            runs[VARIANT] = []
        for mode, (write, pair) in ways.items():
            await write(pair, shortened(work, WARM_UP_TOKENS), f"{mode}-warm-up")
        for repeat in range(repeats):
            for mode, (write, pair) in ways.items():
                runs[mode].append(await measure(write(pair, work, f"{mode}-{repeat}"), pair.processes))
    if DUAL in modes:
        from bench.dual import dual_engine

        async with dual_engine(work) as (engine, processes):
            await engine.write(shortened(work, WARM_UP_TOKENS), "warm-up")
            runs[DUAL] = [await measure(engine.write(work, str(repeat)), processes) for repeat in range(repeats)]
    return runs


async def latency(work: Workload, repeats: int) -> Figures:
    """The figures of `--long`."""
    async with engine_pair(work.specs) as pair:
        await tandem(pair, shortened(work, WARM_UP_TOKENS), "warm-up")
        return await handoff_latencies(pair, work, repeats)


def main() -> None:
    """Measures what the command line asks for and prints it."""
    options = _options()
    console = Console()
    if options.long:
        found = uvloop.run(latency(prepare(options.model, LONG_ROLLOUTS, TOKENS), options.repeats))
    else:
        work = prepare(options.model, options.rollouts, options.tokens)
        runs = uvloop.run(throughput(work, options.modes, options.repeats, options.variant))
        console.print(table(runs))
        found = {"rollouts": options.rollouts, "tokens_per_rollout": options.tokens, **figures(runs)}
    found = {"model": options.model, "repeats": options.repeats, **found, "machine": machine()}
    if options.json:
        print(json.dumps(found))
    else:
        console.print(found)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.cogen", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", choices=DTYPES, default="smollm2")
    parser.add_argument("--rollouts", type=_positive, default=64, help="written at the same time (default: %(default)s)")
    parser.add_argument("--tokens", type=_positive, default=64, help="length of every rollout (default: %(default)s)")
    parser.add_argument("--repeats", type=_positive, default=3, help="of each mode; medians are told (default: %(default)s)")
    parser.add_argument(
        "--modes", nargs="+", choices=[*MODES, DUAL], default=[*MODES, DUAL], metavar="MODE", help="default: %(default)s"
    )
    parser.add_argument("--variant", default="", metavar="MODULE:CLASS", help="another engine class to compare tandem with")
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    parser.add_argument("--long", action="store_true", help="measure a handoff's latency early and late in a long text instead")
    return parser.parse_args()


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text}: give a whole number of at least 1")
    return number


if __name__ == "__main__":
    main()
