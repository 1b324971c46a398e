"""Tests of the task queue and of the choice of replicas."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from actors.dispatch import FILL, Dispatcher, TaskQueue
from actors.group_task import GroupTask
from tandem.config.rollout import SamplingConfig
from tandem.rollout import Group, Problem, Prompt
from tandem.schedule import Schedule
from tests.support.random_groups import random_groups

BUDGET = 100


def task(rollouts: int, prompt_tokens: int = 10) -> GroupTask:
    prompt = Prompt(Problem("0", "?", "!"), tuple(range(prompt_tokens)))
    return GroupTask(prompt, tuple(map(str, range(rollouts))), tuple(range(rollouts)), Schedule(), SamplingConfig(1.0, BUDGET))


def written(task: GroupTask, tokens: int) -> Group:
    """Return a group for `task` with rollouts of `tokens` tokens."""
    (group,) = random_groups(0, groups=1, size=len(task.rollout_ids))
    for rollout in group.rollouts:
        rollout.token_ids = np.zeros(tokens, np.int32)
    return Group(task.prompt, group.rollouts, task.schedule)


@given(st.lists(st.integers(1, 20), min_size=1, max_size=8), st.lists(st.integers(1, 6), max_size=100))
def test_every_replica_receives_its_fill_and_no_more(admitted: list[int], sizes: list[int]) -> None:
    dispatch, outstanding = Dispatcher(len(admitted)), [0] * len(admitted)
    for size in sizes:
        if (replica := dispatch.next_replica(admitted)) is None:
            assert all(given >= FILL * room for given, room in zip(outstanding, admitted, strict=True))
            break
        assert outstanding[replica] < FILL * admitted[replica]
        dispatch.assign(replica, task(size))
        outstanding[replica] += size


@given(st.lists(st.integers(1, 50), min_size=1, max_size=60))
def test_replica_with_fewest_outstanding_tokens_receives_group(prompts: list[int]) -> None:
    dispatch = Dispatcher(4)
    for tokens in prompts:
        replica = dispatch.next_replica([1000] * 4)
        assert replica is not None
        assert dispatch.outstanding_tokens(replica) == min(map(dispatch.outstanding_tokens, range(4)))
        dispatch.assign(replica, task(2, tokens))
    totals = [dispatch.outstanding_tokens(replica) for replica in range(4)]
    assert sum(totals) == sum(prompts) + 2 * BUDGET * len(prompts)
    assert max(totals) - min(totals) <= 2 * BUDGET + max(prompts)


def test_outstanding_rollout_counts_as_mean_length_of_those_returned() -> None:
    dispatch, given = Dispatcher(2), task(4)
    for _ in range(3):
        dispatch.assign(0, given)
    assert dispatch.outstanding_tokens(0) == 3 * (10 + 4 * BUDGET)
    dispatch.complete(0, given, written(given, 30))
    assert dispatch.outstanding_tokens(0) == 2 * (10 + 4 * 30)
    dispatch.complete(0, given, written(given, 50))
    assert dispatch.outstanding_tokens(0) == 10 + 4 * 40
    dispatch.complete(0, given, written(given, 70))
    assert dispatch.outstanding_tokens(0) == 0


def test_stopped_replica_receives_nothing() -> None:
    dispatch = Dispatcher(2)
    assert dispatch.next_replica([0, 8]) == 1 and dispatch.next_replica([0, 0]) is None


def test_queue_returns_retried_tasks_first_in_their_order() -> None:
    queue = TaskQueue(task(size) for size in (1, 2, 3))
    first, second = queue.next_task(), queue.next_task()
    assert first and second and not queue.exhausted
    queue.retry(first)
    queue.retry(second)
    assert [queue.next_task() for _ in range(4)] == [first, second, (2, task(3)), None] and queue.exhausted


def test_queue_that_begins_groups_is_never_exhausted() -> None:
    available = [(7, task(1))]
    queue = TaskQueue(begin=lambda: available.pop() if available else None)
    assert queue.next_task() == (7, task(1)) and queue.next_task() is None and not queue.exhausted
