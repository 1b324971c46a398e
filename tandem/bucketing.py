"""Which sequences pass through the model together: of similar length, so that little of what passes is padding."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

USEFUL_FRACTION = 0.95
"""At least so many of the tokens that pass through the model are real."""


def buckets(lengths: Sequence[int], max_tokens: int) -> list[list[int]]:
    """Indices into `lengths` in buckets, each padded to its longest: the fewest that hold at most `max_tokens` padded tokens
    each and are real for `USEFUL_FRACTION` over all; among equally many, those with the least padding.

    A sequence longer than `max_tokens` is alone. Longest first. For each bucket the time is quadratic in the sequences.
    """
    order = np.argsort(lengths, kind="stable")[::-1]
    longest_first = np.asarray(lengths, np.float64)[order]
    count = len(order)
    # A best partition's buckets are runs of the sorted sequences; padded[i, j] is what the run from i up to j takes.
    sizes = np.arange(count + 1) - np.arange(count)[:, None]
    padded = sizes * longest_first[:, None]
    padded[(sizes < 1) | ((sizes > 1) & (padded > max_tokens))] = np.inf

    best = np.full(count + 1, np.inf)  # padded tokens of the first j sequences, in as many buckets as `starts` has layers
    best[0] = 0.0
    starts: list[np.ndarray] = []
    while best[count] * USEFUL_FRACTION > longest_first.sum():
        through = best[:count, None] + padded
        starts.append(through.argmin(axis=0))
        best = through.min(axis=0)

    result, end = [], count
    for layer in reversed(starts):
        start = int(layer[end])
        result.append(order[start:end].tolist())
        end = start
    return result[::-1]
