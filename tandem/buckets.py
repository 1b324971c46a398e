"""Division of sequences into buckets of similar length: the fewest with little padding.

Sorted by length, the buckets of a best division are runs. Let f(k) be the least number of padded tokens of k runs. The size
of a run from i to j, (j - i) times the length of sequence i, satisfies the quadrangle inequality, also where it is infinite
because it exceeds the budget. So f is convex, and with a price for each run the best runs follow in linear time (`_divide`).
A search for the price finds the least k with f(k) small enough.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

USEFUL_FRACTION = 0.95
"""Least fraction of the tokens passing through the model that are not padding."""


def buckets(lengths: Sequence[int], max_tokens: int) -> list[list[int]]:
    """Return buckets of indices into `lengths`, longest first, so that sequences of similar length pass together.

    Each bucket is padded to its longest sequence and has at most `max_tokens` padded tokens; a longer sequence is alone. The
    number of buckets is the smallest with which at least `USEFUL_FRACTION` of all tokens are real, and their padding the least
    for this number.
    """
    order = np.argsort(lengths, kind="stable")[::-1].tolist()
    cuts = _fewest([int(lengths[index]) for index in order], max_tokens)
    return [order[start:stop] for start, stop in pairwise(cuts)]


class _Division(NamedTuple):
    """A division of sequences into runs."""

    cuts: list[int]
    """where the runs begin, and the end of the last"""
    padded: int
    """tokens, with padding"""

    @property
    def runs(self) -> int:
        """Return the number of runs."""
        return len(self.cuts) - 1


def _fewest(longest_first: list[int], max_tokens: int) -> list[int]:
    """Return the cuts of the fewest runs with little padding, and of these with the least."""
    real, count = sum(longest_first), len(longest_first)
    few, many = _divide(longest_first, max_tokens, price=count * real + 1), _Division(list(range(count + 1)), real)

    def enough(division: _Division) -> bool:
        return division.padded * USEFUL_FRACTION <= real

    if enough(few):
        return few.cuts
    # `few` pads too much and `many` does not. Both are best for some price.
    while many.runs > few.runs + 1:
        saved = (few.padded - many.padded) // (many.runs - few.runs)
        between = _divide(longest_first, max_tokens, price=saved + 1)
        if between.runs == few.runs:  # every further run saves `saved` tokens
            extra = next(k for k in range(1, many.runs - few.runs + 1) if (few.padded - k * saved) * USEFUL_FRACTION <= real)
            return _spliced(few.cuts, many.cuts, extra)
        few, many = (few, between) if enough(between) else (between, many)
    return many.cuts


def _divide(longest_first: list[int], max_tokens: int, price: int) -> _Division:
    """Return the runs for which padded tokens and `price` for each run are least in sum; of several, those with most runs.

    The cost of a run that begins at i is linear in its end, with a slope that falls with i: once a later beginning is best, no
    earlier one is best again.
    """
    count = len(longest_first)
    scale = count + 1  # so that one run more breaks ties
    costs, befores = [0] * (count + 1), [0] * (count + 1)
    intercepts: list[int] = []
    candidates: deque[int] = deque()
    takeovers: deque[int] = deque()
    """the end from which each candidate is better than the one before it"""

    def takeover(earlier: int, later: int) -> int:
        slope = longest_first[earlier] - longest_first[later]
        expires = earlier + max(1, max_tokens // max(1, longest_first[earlier])) + 1
        difference = intercepts[later] - intercepts[earlier]
        if slope == 0:
            return later + 1 if difference <= 0 else expires
        return min(expires, max(later + 1, -(-difference // (scale * slope))))

    for end in range(1, count + 1):
        start = end - 1
        intercepts.append(costs[start] + scale * (price - start * longest_first[start]) - 1)
        while candidates:
            at = takeover(candidates[-1], start)
            if not takeovers or at > takeovers[-1]:
                takeovers.append(at)
                break
            candidates.pop()
            takeovers.pop()
        candidates.append(start)
        while takeovers and takeovers[0] <= end:
            candidates.popleft()
            takeovers.popleft()
        best = candidates[0]
        costs[end], befores[end] = intercepts[best] + scale * longest_first[best] * end, best

    cuts = [count]
    while cuts[-1] > 0:
        cuts.append(befores[cuts[-1]])
    cuts.reverse()
    padded = sum((stop - start) * longest_first[start] for start, stop in pairwise(cuts))
    return _Division(cuts, padded)


def _spliced(few: list[int], many: list[int], more: int) -> list[int]:
    """Return cuts of `more` runs more than `few` has, of the first runs of `many` and the last of `few`.

    Both are best for the same price, and so is the result: a run of `many` lies within one of `few`, and by the quadrangle
    inequality nothing is lost by exchanging what follows them.
    """
    for index in range(len(few) - 1):
        if many[index + more + 1] <= few[index + 1]:
            return many[: index + more + 1] + few[index + 1 :]
    raise AssertionError("`many` ends where `few` ends")
