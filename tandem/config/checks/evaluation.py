"""What can be measured of a senior."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tandem.config.checks.bounds import MIN_TEMPERATURE
from tandem.schedules import SCHEDULES

if TYPE_CHECKING:
    from tandem.config.schema import Config, ScheduleConfig

MEASURES = ("solo", "handoff", "drift", "legibility", "takeover")


def evaluation_problems(config: Config) -> Iterator[str]:
    """Yield what is wrong with the measures."""
    measured = config.eval
    if not measured.measures or len(set(measured.measures)) < len(measured.measures):
        yield f"eval.measures={measured.measures}: name each measure once, and at least one of {', '.join(MEASURES)}"
    for name in measured.measures:
        if name not in MEASURES:
            yield f"eval.measures={measured.measures}: choose among {', '.join(MEASURES)}"
    if not measured.pass_at or not all(1 <= k <= measured.samples for k in measured.pass_at):
        yield f"eval.pass_at={measured.pass_at}: give numbers from 1 to eval.samples={measured.samples}"
    if measured.scored_samples > measured.samples:
        yield f"eval.scored_samples={measured.scored_samples}: there are only eval.samples={measured.samples}; give fewer"
    if not measured.prefixes or not all(0 <= fraction < 1 for fraction in measured.prefixes):
        yield f"eval.prefixes={measured.prefixes}: give fractions from 0 to below 1"
    if not measured.handoff:
        yield "eval.handoff=[]: name at least one schedule, as in '[{name: step, alternates: true}]'"
    for index, schedule in enumerate(measured.handoff):
        yield from _handoff_problems(f"eval.handoff[{index}]", schedule)
    if 0 < measured.sampling.temperature < MIN_TEMPERATURE:
        yield f"eval.sampling.temperature={measured.sampling.temperature}: give 0 (greedy) or at least {MIN_TEMPERATURE}"


def _handoff_problems(key: str, schedule: ScheduleConfig) -> Iterator[str]:
    if schedule.name not in SCHEDULES or schedule.name == "solo":
        others = " or ".join(name for name in SCHEDULES if name != "solo")
        yield f"{key}.name={schedule.name}: choose {others}"
    if not 0 <= schedule.prob_senior <= 1:
        yield f"{key}.prob_senior={schedule.prob_senior}: give a number from 0 to 1"
    if schedule.max_gap_tokens < 1 or schedule.chunk_tokens < 1:
        yield f"{key}: max_gap_tokens={schedule.max_gap_tokens} and chunk_tokens={schedule.chunk_tokens} must be at least 1"
    if schedule.anneal != "constant":
        yield f"{key}.anneal={schedule.anneal}: an evaluation has no steps; choose constant"
