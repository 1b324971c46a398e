"""Tests of buckets: they hold every rollout within the budget, with little padding, and their number is minimal."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tandem.buckets import USEFUL_FRACTION, buckets

budgets = st.integers(1, 300)


def padded(lengths: list[int], parts: list[list[int]]) -> int:
    return sum(len(part) * max(lengths[i] for i in part) for part in parts)


def keeps_budget(lengths: list[int], part: list[int], budget: int) -> bool:
    return len(part) == 1 or len(part) * max(lengths[i] for i in part) <= budget


def partitions(items: list[int]) -> Iterator[list[list[int]]]:
    """Yield all partitions of `items`."""
    if not items:
        yield []
        return
    for parts in partitions(items[1:]):
        yield [[items[0]], *parts]
        for i in range(len(parts)):
            yield [*parts[:i], [items[0], *parts[i]], *parts[i + 1 :]]


def fewest_runs(lengths: list[int], budget: int) -> tuple[int, int]:
    """Return number and padded tokens of the best runs of the sorted lengths, by trying all beginnings for each end."""
    longest_first, count = sorted(lengths, reverse=True), len(lengths)
    best: list[float] = [0, *[inf] * count]
    for runs in range(count + 1):
        if best[count] * USEFUL_FRACTION <= sum(lengths):
            return runs, int(best[count])
        best = [inf] + [
            min(
                best[start] + (end - start) * longest_first[start]
                for start in range(end)
                if end - start == 1 or (end - start) * longest_first[start] <= budget
            )
            for end in range(1, count + 1)
        ]
    raise AssertionError("one sequence each has no padding")


@given(st.lists(st.integers(1, 60), max_size=40), budgets)
def test_buckets_hold_every_rollout_with_little_padding(lengths: list[int], budget: int) -> None:
    parts = buckets(lengths, budget)
    assert sorted(i for part in parts for i in part) == list(range(len(lengths)))
    assert all(keeps_budget(lengths, part, budget) for part in parts)
    assert sum(lengths) >= USEFUL_FRACTION * padded(lengths, parts)
    longest = [lengths[i] for part in parts for i in part]
    assert longest == sorted(lengths, reverse=True)


@given(st.lists(st.integers(1, 12), max_size=6), st.integers(1, 40))
def test_partition_is_optimal(lengths: list[int], budget: int) -> None:
    """Fewer buckets are better, then less padding."""
    allowed = [
        (len(parts), padded(lengths, parts))
        for parts in partitions(list(range(len(lengths))))
        if all(keeps_budget(lengths, part, budget) for part in parts)
        and sum(lengths) >= USEFUL_FRACTION * padded(lengths, parts)
    ]
    parts = buckets(lengths, budget)
    assert (len(parts), padded(lengths, parts)) == min(allowed)


@settings(max_examples=200)
@given(st.lists(st.integers(1, 6) | st.integers(1, 200), min_size=7, max_size=24), st.integers(1, 600))
def test_runs_are_optimal(lengths: list[int], budget: int) -> None:
    parts = buckets(lengths, budget)
    assert (len(parts), padded(lengths, parts)) == fewest_runs(lengths, budget)


def test_many_long_rollouts() -> None:
    """As many buckets as a step of 16,384 rollouts needs: the time must not grow with sequences times buckets."""
    lengths = np.random.default_rng(0).integers(1_000, 32_768, 16_384).tolist()
    parts = buckets(lengths, 65_536)
    assert sorted(i for part in parts for i in part) == list(range(len(lengths)))
    assert all(keeps_budget(lengths, part, 65_536) for part in parts)
    assert sum(lengths) >= USEFUL_FRACTION * padded(lengths, parts)
