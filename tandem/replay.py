"""Replay of a schedule over a finished rollout: the authorship mask that its tokens imply.

`replay` returns the mask that `Pen.after` gives token by token. First it computes, for all tokens at once, where the next
redraw follows if this token's author was drawn. Then a loop goes from redraw to redraw.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from tandem.rollout import SENIOR, Rollout
from tandem.schedule import BEGINS_LINE, COMPLETE, ENDS_LINE, Schedule, coins


class Replay(NamedTuple):
    """What a schedule implies for the T tokens of a finished rollout."""

    authorship: np.ndarray
    """int8 [T], the authorship mask"""
    drawn: np.ndarray
    """bool [T], the tokens whose author was drawn for them: the first one, and the one after each redraw"""


class DrawCounts(NamedTuple):
    """How often the author of a rollout was drawn."""

    tosses: int
    wins: int
    """those that the senior won"""


def replay(
    schedule: Schedule,
    boundaries: np.ndarray,
    seed: int,
    tokens: Sequence[int] | np.ndarray,
    breaks: Iterable[bool] | None = None,
) -> Replay:
    """Replay `schedule` over the tokens of a finished rollout.

    `boundaries` is the boundary table, uint8 [vocabulary]. `breaks` are the rollout's. After the junior's tokens they alone
    decide; after the senior's they add redraws to those of the schedule.
    """
    entries = boundaries[np.asarray(tokens, np.intp)] & schedule.boundary
    broken = None if breaks is None else np.fromiter(breaks, bool)
    if broken is not None:
        entries, broken = entries[: len(broken)], broken[: len(entries)]
    by_senior = by_junior = _redraws(schedule, entries)
    if broken is not None:
        by_junior = _next(broken)
        by_senior = np.minimum(by_senior, by_junior)
    senior_wins = coins(seed, np.arange(len(entries), dtype=np.uint32)) < schedule.threshold

    if schedule.alternates:
        current, other = by_senior.tolist(), by_junior.tolist()
    else:
        current = other = np.where(senior_wins, by_senior, by_junior).tolist()
    redraws, position = [], 0
    while position < len(entries):
        redraws.append(position)
        position, current, other = current[position], other, current

    starts = np.array(redraws, np.intp)
    is_draw = np.zeros(len(entries), bool)
    is_draw[starts] = True
    authors = np.arange(1, len(starts) + 1) % 2 if schedule.alternates else senior_wins[starts]
    return Replay(np.repeat(authors.astype(np.int8), np.diff(starts, append=len(entries))), is_draw)


def draws_of(rollout: Rollout, schedule: Schedule, boundaries: np.ndarray) -> DrawCounts | None:
    """Return the draws of `rollout` under `schedule`; None unless they give its authorship mask."""
    implied, drawn = replay(schedule, boundaries, rollout.seed, rollout.token_ids, rollout.breaks)
    if not np.array_equal(rollout.authorship, implied):
        return None
    return DrawCounts(int(np.count_nonzero(drawn)), int(np.count_nonzero(implied[drawn] == SENIOR)))


def _redraws(schedule: Schedule, entries: np.ndarray) -> np.ndarray:
    """Return, for each token, the position of the next redraw if there is a redraw before it: int32 [T], T for none.

    `entries` are the tokens' entries in the boundary table, reduced to those that the schedule counts.
    """
    count = len(entries)
    redraws = _next(entries & COMPLETE != 0)
    if schedule.boundary & ENDS_LINE:
        breaks = np.zeros(count, bool)
        breaks[1:] = (entries[:-1] & ENDS_LINE != 0) & (entries[1:] & BEGINS_LINE != 0)
        # Both tokens of a paragraph break follow the redraw.
        np.minimum(redraws[:-1], _next(breaks)[1:], out=redraws[:-1])
    if schedule.max_gap_tokens < count:
        np.minimum(redraws, np.arange(count, dtype=np.int32) + np.int32(schedule.max_gap_tokens), out=redraws)
    return redraws


def _next(breaks: np.ndarray) -> np.ndarray:
    """Return, for each token, the position after the first break at this token or a later one: int32 [T], T for none."""
    count = len(breaks)
    after = np.where(breaks, np.arange(1, count + 1, dtype=np.int32), np.int32(count))
    return np.minimum.accumulate(after[::-1])[::-1]
