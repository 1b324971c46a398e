"""Tests of the selection of groups by dynamic sampling."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tandem.dynamic_sampling import count_missing, select
from tandem.rollout import Group
from tests.support.random_groups import random_groups


def group(constant: bool) -> Group:
    (made,) = random_groups(0, groups=1, size=2)
    made.rewards = np.array([1, 1 if constant else 0], np.float32)
    return made


groups = st.lists(st.booleans().map(group), max_size=12)


@given(groups, st.integers(1, 6))
def test_selection_keeps_order_and_drops_only_uniform_groups(written: list[Group], wanted: int) -> None:
    selected = select(written, min(wanted, len(written)))
    positions = [next(i for i, each in enumerate(written) if each is kept) for kept in selected]
    assert positions == sorted(set(positions)), "each once, in order"
    left_out = [each for each in written if not any(each is kept for kept in selected)]
    assert all(each.constant for each in left_out)
    mixed = sum(not each.constant for each in written)
    assert len(selected) == max(mixed, min(wanted, len(written)))


@given(groups, st.integers(1, 6))
def test_missing_groups_complete_mixed_ones(written: list[Group], wanted: int) -> None:
    missing = count_missing(written, wanted)
    assert count_missing([*written, *(group(constant=False) for _ in range(missing))], wanted) == 0
    assert missing == 0 or count_missing([*written, *(group(constant=False) for _ in range(missing - 1))], wanted) == 1
    assert count_missing([*written, group(constant=True)], wanted) == missing
