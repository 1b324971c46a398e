"""Tests of the staleness bound: no group is used that is older than the bound."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.rollout import BASE_VERSION, JUNIOR, Group
from tandem.staleness import START, StalenessBuffer, StreamPosition, mean_staleness, oldest_version
from tests.support.random_groups import random_groups

STEPS = 100


def buffer_of(batch: int, staleness: int, steps: int = STEPS) -> StalenessBuffer:
    """Return the buffer of a run at its start."""
    return StalenessBuffer(batch, staleness, steps=steps, version=BASE_VERSION, stream_position=START)


def group_of(*versions: int) -> Group:
    """Return a group whose senior tokens were sampled from these versions, in this order."""
    (group,) = random_groups(0, groups=1, size=2)
    for rollout in group.rollouts:
        written = np.resize(np.array(versions), int(rollout.authorship.sum()))
        rollout.weight_versions[rollout.authorship == 1] = np.sort(written)
    return group


def test_mean_staleness_counts_senior_tokens() -> None:
    group = group_of(4)
    assert mean_staleness([group], 4) == 0 and mean_staleness([group, group_of(6)], 6) == 1
    for rollout in group.rollouts:
        rollout.authorship[:] = JUNIOR
    assert mean_staleness([group], 4) == 0


@given(st.data(), st.integers(1, 4), st.integers(0, 3))
def test_groups_are_used_once_and_within_max_staleness(data: st.DataObject, batch: int, bound: int) -> None:
    """Groups finish in any order; the learner takes a batch at any time when one is complete."""
    ahead, steps = buffer_of(batch, bound, steps=4), 4
    begun: dict[int, int] = {}  # position -> the version at the start of the group
    learnt: list[int] = []
    in_flight: list[int] = []
    by_group: dict[int, int] = {}
    kept: list[Group] = []  # so that no object id is reused
    while ahead.version < steps:
        while (group_to_write := ahead.begin()) is not None:
            position, step = group_to_write
            assert ahead.version < step <= ahead.version + 1 + bound and step <= steps
            assert position not in begun
            begun[position] = ahead.version
            in_flight.append(position)
        assert len(in_flight) + ahead.finished <= batch * (bound + 1)
        if ahead.finished >= batch and (not in_flight or data.draw(st.booleans())):
            for group in ahead.take(batch):
                assert ahead.version - (oldest_version(group) or 0) <= bound
                learnt.append(by_group[id(group)])
            ahead.advance(ahead.version + 1)
        else:
            position = in_flight.pop(data.draw(st.integers(0, len(in_flight) - 1)))
            kept.append(group_of(begun[position], ahead.version))
            by_group[id(kept[-1])] = position
            ahead.finish(position, kept[-1])
    assert len(learnt) == len(set(learnt)) == steps * batch
    assert ahead.begin() is None, "no batch comes after the last"
    assert len(begun) == len(learnt) + ahead.dropped + len(in_flight) + ahead.finished
    assert sorted(begun) == list(range(len(begun)))


def test_on_policy_batch_starts_after_previous_update() -> None:
    ahead = buffer_of(2, 0)
    assert [ahead.begin() for _ in range(3)] == [(0, 1), (1, 1), None]
    for position in (1, 0):
        ahead.finish(position, group_of(0))
    assert len(ahead.take(2)) == 2
    assert ahead.begin() is None
    ahead.advance(1)
    assert [ahead.begin() for _ in range(3)] == [(2, 2), (3, 2), None]


def test_overtaken_group_is_dropped_and_replaced() -> None:
    ahead = buffer_of(1, 1)
    assert [ahead.begin() for _ in range(3)] == [(0, 1), (1, 2), None]
    ahead.finish(1, group_of(0))
    ahead.take(1)
    ahead.advance(1)
    assert ahead.begin() == (2, 3)
    ahead.finish(2, group_of(1))
    ahead.take(1)
    ahead.advance(2)
    ahead.finish(0, group_of(0, 2))
    assert (ahead.dropped, ahead.finished) == (1, 0)
    assert [ahead.begin() for _ in range(3)] == [(3, 3), (4, 4), None]


def test_unused_groups_are_regenerated_after_resume() -> None:
    ahead = buffer_of(2, 1)
    for _ in range(4):
        ahead.begin()
    for position in (3, 0, 1):
        ahead.finish(position, group_of(0))
    ahead.take(2)
    ahead.advance(1)
    assert ahead.stream_position == StreamPosition(4, [2, 3])
    resumed = StalenessBuffer(2, 1, steps=STEPS, version=1, stream_position=ahead.stream_position)
    assert [resumed.begin() for _ in range(5)] == [(2, 2), (3, 2), (4, 3), (5, 3), None]


def test_rejected_groups_are_replaced() -> None:
    ahead = buffer_of(2, 0, steps=1)
    for begun in (ahead.begin(), ahead.begin()):
        assert begun is not None
        ahead.finish(begun.position, group_of(0))
    ahead.take(2)
    assert ahead.begin() is None
    ahead.reject(1)
    assert [ahead.begin(), ahead.begin()] == [(2, 1), None]
    with pytest.raises(ValueError, match=r"1 groups were asked for, and 0 have finished"):
        ahead.take(1)


def test_group_without_senior_tokens_has_no_age() -> None:
    group = group_of(0)
    for rollout in group.rollouts:
        rollout.authorship[:] = JUNIOR
    assert oldest_version(group) is None
    assert StalenessBuffer(1, 0, steps=STEPS, version=9, stream_position=START).staleness(group) == 0
