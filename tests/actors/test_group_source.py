"""Tests of the group sources on Ray, with simulated replicas and a simulated learner that only sleep."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import ray

from actors.dispatch import FILL
from actors.group_source import AsyncGroupSource, SyncGroupSource
from actors.group_task import GroupTask
from actors.replica import RolloutError
from actors.replicas import ReplicaSet
from actors.rollout_pool import RolloutPool
from bench.simulated import SimulatedReplica
from tandem.config.rollout import SamplingConfig
from tandem.config.run import GuardConfig
from tandem.config.schema import Config
from tandem.rollout import BASE_VERSION, Group, Problem, Prompt
from tandem.runtime.restarts import RestartBudget
from tandem.schedule import Schedule
from tandem.staleness import START, StalenessBuffer, StreamPosition, oldest_version
from tests.support.stage import ADMITTED, NEVER, events
from tests.support.waiting import wait_until

SAMPLING = SamplingConfig(max_tokens=20)
BATCH = 4


@pytest.fixture
def pool(shared_stage: Any) -> Iterator[RolloutPool]:
    """A pool of two simulated replicas without events."""
    ray.get(shared_stage.reset.remote())
    replicas = [SimulatedReplica(shared_stage, replica) for replica in (0, 1)]
    with RolloutPool(Config(), ReplicaSet(replicas, GuardConfig(), RestartBudget(0))) as pool:
        yield pool


def tasks(pool: RolloutPool, *durations: str) -> Callable[[int, int], GroupTask]:
    """Return groups that take `durations` seconds, in turn."""

    def task_at(position: int, step: int) -> GroupTask:
        prompt = Prompt(Problem(str(position), durations[position % len(durations)], "!"), (1, 2, 3))
        return pool.task(prompt, ADMITTED, Schedule(), SAMPLING, f"t/{position}")

    return task_at


def buffer_of(staleness: int, steps: int = 100) -> StalenessBuffer:
    """Return the buffer of a run of `steps` steps at its start."""
    return StalenessBuffer(BATCH, staleness, steps=steps, version=BASE_VERSION, stream_position=START)


def async_source(pool: RolloutPool, buffer: StalenessBuffer, duration: str = "0.8") -> AsyncGroupSource:
    return AsyncGroupSource(pool, buffer, tasks(pool, duration))


def problem_ids(groups: list[Group]) -> list[str]:
    return [group.prompt.problem.id for group in groups]


def steps_of(source: AsyncGroupSource, pool: RolloutPool, staleness: int, steps: int) -> Iterator[int]:
    """Take the batch of each step, yield the step where the learner would update, and publish its weights."""
    for step in range(1, steps + 1):
        oldest = [version for group in source.take(step, BATCH) if (version := oldest_version(group)) is not None]
        assert len(oldest) == BATCH and all(0 <= step - 1 - version <= staleness for version in oldest)
        yield step
        assert pool.finish_weight_sync(step) == [step, step]  # type: ignore[arg-type]
        source.advance(step)
    assert source.dropped == 0


def test_next_batch_is_written_during_update_with_staleness_of_one(pool: RolloutPool) -> None:
    written, steps = list[Group](), 5
    with AsyncGroupSource(pool, buffer_of(1, steps), tasks(pool, "0.2"), written.append) as source:
        for step in steps_of(source, pool, 1, steps):
            wait_until(lambda: len(written) == BATCH * min(step + 1, steps))  # noqa: B023 - called in this iteration only


def test_on_policy_writing_waits_for_update(pool: RolloutPool, shared_stage: Any) -> None:
    with async_source(pool, buffer_of(0, steps=3), "0.2") as source:
        for step in steps_of(source, pool, 0, 3):
            time.sleep(0.2)
            assert len(events(shared_stage, "given")) == BATCH * step


def test_groups_in_flight_at_end_are_cancelled(pool: RolloutPool, shared_stage: Any) -> None:
    with async_source(pool, buffer_of(1), NEVER):
        wait_until(lambda: len(events(shared_stage, "given")) == 2 * FILL)
    assert len(events(shared_stage, "cancelled")) == len(events(shared_stage, "given")) == 2 * FILL


def test_rejected_groups_are_replaced(pool: RolloutPool) -> None:
    with async_source(pool, buffer_of(0, steps=1), "0") as source:
        first = source.take(1, BATCH)
        source.reject(2)
        assert problem_ids([*first, *source.take(1, 2)]) == [str(i) for i in range(BATCH + 2)]


def test_each_finished_group_is_reported_once(pool: RolloutPool) -> None:
    reported: list[object] = []
    with async_source(pool, buffer_of(1, steps=2), "0") as source:
        source.take(1, BATCH, reported.append)
        time.sleep(0.5)  # the next batch has finished
        source.take(1, BATCH, reported.append)
    assert len(reported) == 2 * BATCH


def test_sync_source_takes_consecutive_positions_and_counts_stragglers(pool: RolloutPool) -> None:
    reported: list[object] = []
    with SyncGroupSource(pool, tasks(pool, "0", "0", "0", "0", "0", NEVER), deadline_s=2.0) as source:
        assert problem_ids(source.take(1, BATCH, reported.append)) == ["0", "1", "2", "3"] and source.dropped == 0
        assert problem_ids(source.take(1, BATCH, reported.append)) == ["4", "6", "7"] and source.dropped == 1
    assert len(reported) == 2 * BATCH - 1


def test_writing_is_timed_while_groups_are_in_flight(pool: RolloutPool) -> None:
    written: list[Group] = []
    with AsyncGroupSource(pool, buffer_of(1, steps=2), tasks(pool, "0.3"), written.append) as source:
        taken = source.take(1, BATCH)
        while_second_batch_is_written = source.writing_s
        taken += source.take(2, BATCH)
        at_end = source.writing_s
        assert 0.3 <= while_second_batch_is_written <= at_end and source.writing_s == at_end, "no group is in flight any more"
    assert {id(group) for group in written} == {id(group) for group in taken}


def test_take_raises_failure_of_writing_thread(pool: RolloutPool) -> None:
    with async_source(pool, buffer_of(1), "fails") as source, pytest.raises(RolloutError, match="no such thing"):
        source.take(1, BATCH)


def test_sync_source_starts_with_unfinished_positions_of_resumed_run(pool: RolloutPool) -> None:
    with SyncGroupSource(pool, tasks(pool, "0"), stream_position=StreamPosition(8, [2, 5, 6])) as source:
        assert problem_ids(source.take(1, 2)) == ["2", "5"] and source.stream_position == StreamPosition(8, [6])
        assert problem_ids(source.take(1, 3)) == ["6", "8", "9"] and source.stream_position == StreamPosition(10, [])
