"""Which replica is given the next group."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from actors.dispatch import FILL, Dispatch
from actors.rollout import GroupTask
from tandem.config.schema import SamplingConfig
from tandem.data.random_groups import random_groups
from tandem.rollout import Group, Problem, Prompt
from tandem.schedule import Schedule

BUDGET = 100


def task(rollouts: int, prompt_tokens: int = 10) -> GroupTask:
    prompt = Prompt(Problem("0", "?", "!"), tuple(range(prompt_tokens)))
    return GroupTask(prompt, tuple(map(str, range(rollouts))), tuple(range(rollouts)), Schedule(), SamplingConfig(1.0, BUDGET))


def written(task: GroupTask, tokens: int) -> Group:
    """What comes back for `task`: rollouts of `tokens` tokens."""
    (group,) = random_groups(0, groups=1, size=len(task.rollout_ids))
    for rollout in group.rollouts:
        rollout.token_ids = np.zeros(tokens, np.int32)
    return Group(task.prompt, group.rollouts)


@given(st.lists(st.integers(1, 20), min_size=1, max_size=8), st.lists(st.integers(1, 6), max_size=100))
def test_every_replica_gets_its_fill_and_no_more(admitted: list[int], sizes: list[int]) -> None:
    dispatch, outstanding = Dispatch(admitted, BUDGET), [0] * len(admitted)
    for size in sizes:
        if (replica := dispatch.next_replica([True] * len(admitted))) is None:
            assert all(given >= FILL * room for given, room in zip(outstanding, admitted, strict=True))
            break
        assert outstanding[replica] < FILL * admitted[replica]
        dispatch.give(replica, task(size))
        outstanding[replica] += size


@given(st.lists(st.integers(1, 50), min_size=1, max_size=60))
def test_groups_go_where_the_fewest_tokens_are_outstanding(prompts: list[int]) -> None:
    dispatch = Dispatch([1000] * 4, BUDGET)
    for tokens in prompts:
        replica = dispatch.next_replica([True] * 4)
        assert replica is not None
        assert dispatch.outstanding_tokens(replica) == min(map(dispatch.outstanding_tokens, range(4)))
        dispatch.give(replica, task(2, tokens))
    totals = [dispatch.outstanding_tokens(replica) for replica in range(4)]
    assert sum(totals) == sum(prompts) + 2 * BUDGET * len(prompts)
    assert max(totals) - min(totals) <= 2 * BUDGET + max(prompts)


def test_a_rollout_counts_what_those_returned_have_on_average() -> None:
    dispatch, given = Dispatch([8, 8], BUDGET), task(4)
    for _ in range(3):
        dispatch.give(0, given)
    assert dispatch.outstanding_tokens(0) == 3 * (10 + 4 * BUDGET)
    dispatch.take_back(0, given, written(given, 30))
    assert dispatch.outstanding_tokens(0) == 2 * (10 + 4 * 30)
    dispatch.take_back(0, given, written(given, 50))
    assert dispatch.outstanding_tokens(0) == 10 + 4 * 40
    dispatch.take_back(0, given, written(given, 70))
    assert dispatch.outstanding_tokens(0) == 0
