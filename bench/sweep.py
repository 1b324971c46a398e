"""Speed of co-generation over the number of rollouts, the distance of redraws and the senior's probability."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median

from bench.engines import WritingTime, engine_pair, measure
from bench.modes import MODES, shortened
from bench.workload import WARM_UP_TOKENS, Workload, prepare
from launch.cluster.machine import describe_machine

SWEPT = ("solo", "tandem", "solo_two_devices")
"""The modes measured at every value. They alternate, so that a slow moment of the machine affects all."""
ROLLOUTS = 64
"""Number of concurrent rollouts on the other axes."""
TOKENS = 48
"""Length of every rollout, so that a sweep of SmolLM2 ends within ten minutes on two cores."""
REPEATS = 1
RESULT = Path("cogeneration.json")


@dataclass(frozen=True)
class Axis:
    """One varied setting; all others are as in `prepare`."""

    name: str
    """the setting's name in the results"""
    values: tuple[float, ...]
    rollouts: int
    """the largest number of concurrent rollouts"""
    schedule: str
    """its name in the configuration; engines have one boundary table, so each axis starts its own pair"""
    vary: Callable[[Workload, float], Workload]
    """return the workload at one of the values"""


AXES = (
    Axis("rollouts", (8, 16, 32, 64, 128, 256), 256, "word", lambda work, n: replace(work, prompts=work.prompts[: int(n)])),
    # With a coin: alternating rollouts would all be in one engine at a time, and the other would idle.
    Axis(
        "chunk_tokens",
        (1, 2, 4, 8, 16, 32, 64),
        ROLLOUTS,
        "chunk",
        lambda work, n: replace(work, schedule=work.schedule._replace(max_gap_tokens=int(n))),
    ),
    Axis(
        "prob_senior",
        (0.0, 0.25, 0.5, 0.75, 1.0),
        ROLLOUTS,
        "word",
        lambda work, p: replace(work, schedule=work.schedule._replace(prob_senior=p)),
    ),
)


@dataclass(frozen=True)
class SweepPoint:
    """The medians of one mode at one value of one axis, and the conditions."""

    axis: str
    value: float
    mode: str
    tokens_per_s: float
    turns_per_s: float
    busy_senior: float
    busy_junior: float
    busy_exchange: float
    rollouts: int
    tokens_per_rollout: int
    repeats: int
    model: str
    machine: str


async def sweep(model: str, tokens: int, repeats: int) -> AsyncIterator[SweepPoint]:
    """Yield the points of all `AXES` as they are measured, for rollouts of `tokens` tokens by `model` (a key of `DTYPES`)."""
    for axis in AXES:
        work = prepare(model, axis.rollouts, tokens, axis.schedule)
        async with engine_pair(work.specs) as pair:
            for mode in SWEPT:
                await MODES[mode](pair, shortened(work, WARM_UP_TOKENS), f"{mode}-warm-up")
            for value in axis.values:
                varied = axis.vary(work, value)
                runs: dict[str, list[WritingTime]] = {mode: [] for mode in SWEPT}
                for repeat in range(repeats):
                    for mode in SWEPT:
                        writing = MODES[mode](pair, varied, f"{mode}-{value}-{repeat}")
                        runs[mode].append(await measure(writing, pair.processes))
                for mode in SWEPT:
                    yield point(axis.name, value, mode, runs[mode], tokens, model)


def point(axis: str, value: float, mode: str, runs: Sequence[WritingTime], tokens: int, model: str) -> SweepPoint:
    """Return the medians of `runs`, the repeats of `mode` at `value`."""
    return SweepPoint(
        axis=axis,
        value=value,
        mode=mode,
        tokens_per_s=round(median(run.tokens_per_s for run in runs), 1),
        turns_per_s=round(median((run.handoffs + run.rollouts) / run.seconds for run in runs), 1),
        busy_senior=round(median(run.busy_senior for run in runs), 3),
        busy_junior=round(median(run.busy_junior for run in runs), 3),
        busy_exchange=round(median(run.busy_exchange for run in runs), 3),
        rollouts=runs[0].rollouts,
        tokens_per_rollout=tokens,
        repeats=len(runs),
        model=model,
        machine=describe_machine(),
    )


def save(points: Iterable[SweepPoint], folder: Path) -> Path:
    """Write `points` to `folder` (created if missing) as a JSON list, one per line; return the file."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = ",\n".join(json.dumps(asdict(each)) for each in points)
    file = folder / RESULT
    file.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    return file


def load(folder: Path) -> list[SweepPoint]:
    """Return the points that `save` wrote to `folder`."""
    return [SweepPoint(**fields) for fields in json.loads((folder / RESULT).read_text(encoding="utf-8"))]
