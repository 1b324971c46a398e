"""Latency of a handoff early and late in a long text: it must not depend on the text's length."""

from __future__ import annotations

import time
from collections.abc import Sequence
from statistics import median

import numpy as np

from bench.engines import EnginePair
from bench.report import Figures
from bench.workload import Workload
from tandem.cogeneration import Session, Token, WrappedSession, cogenerate
from tandem.rollout import JUNIOR, SENIOR, Rollout
from tandem.schedule import SOLO, Schedule

POSITIONS = (256, 4_000)
REACH = 128
"""A position's window: this number of tokens on each side."""
TOKENS = POSITIONS[-1] + REACH


class TimedSession(WrappedSession):
    """A session that appends the arrival time of each token, in seconds, to `arrivals`."""

    def __init__(self, session: Session, arrivals: list[float]) -> None:
        super().__init__(session)
        self._arrivals = arrivals

    async def read(self) -> Sequence[Token]:
        """Return the next tokens (see `Session.read`)."""
        tokens = await super().read()
        self._arrivals += [time.perf_counter()] * len(tokens)
        return tokens


async def handoff_latencies(pair: EnginePair, work: Workload, repeats: int) -> Figures:
    """Return the handoff latency at each of `POSITIONS`, in microseconds, and `handoff_cost_growth`, the last over the first.

    A latency is the time from the boundary token to the partner's first token, minus a solo decode step at that length. One
    rollout runs at a time, `repeats` with handoffs and as many solo, alternating; medians are over all tokens of a window.
    """
    passed: dict[int, list[float]] = {position: [] for position in POSITIONS}
    steps: dict[int, list[float]] = {position: [] for position in POSITIONS}
    for repeat in range(repeats):
        prompt = repeat % len(work.prompts)
        solo, solo_gaps = await _timed(pair, work, prompt, f"long-solo-{repeat}", [SENIOR], SOLO)
        rollout, gaps = await _timed(pair, work, prompt, f"long-tandem-{repeat}", [SENIOR, JUNIOR], work.schedule)
        changed = np.diff(rollout.authorship) != 0
        for position in POSITIONS:
            window = slice(position - REACH, position + REACH)
            passed[position] += gaps[window][changed[window]].tolist()
            steps[position] += solo_gaps[window].tolist()
        assert len(solo) == len(rollout) == work.tokens
    figures: Figures = {}
    for position in POSITIONS:
        figures[f"decode_step_us_at_{position}"] = round(1e6 * median(steps[position]))
        figures[f"handoff_us_at_{position}"] = round(1e6 * (median(passed[position]) - median(steps[position])))
        figures[f"handoffs_at_{position}"] = len(passed[position])
    first, last = (median(passed[position]) - median(steps[position]) for position in POSITIONS)
    figures["handoff_cost_growth"] = round(last / first, 3)
    return figures


async def _timed(
    pair: EnginePair, work: Workload, prompt: int, rollout_id: str, authors: Sequence[int], schedule: Schedule
) -> tuple[Rollout, np.ndarray]:
    """Return one rollout, and the seconds between successive tokens, float [T - 1]."""
    arrivals: list[float] = []
    sessions = {a: TimedSession(s, arrivals) for a, s in pair.sessions(rollout_id, work.sampling, authors).items()}
    rollout = await cogenerate(rollout_id, work.prompts[prompt], sessions, schedule, work.boundaries, prompt, work.limits)
    return rollout, np.diff(arrivals)
