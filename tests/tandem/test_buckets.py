"""Tests of buckets: they hold every rollout within the budget, with little padding, and their number is minimal."""

from __future__ import annotations

from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from tandem.batching import USEFUL_FRACTION, buckets

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
