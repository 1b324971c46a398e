"""Writing while the learner learns, over Ray, with replicas and a learner that only take their time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import ray
from stage import ADMITTED, NEVER, StageReplica, events, new_stage

from actors.async_groups import AsyncGroupSource
from actors.dispatch import FILL
from actors.in_turn import SyncGroupSource
from actors.replicas import RolloutError
from actors.rollout import GroupTask
from actors.rollout_pool import RolloutPool
from tandem.config.schema import Config, SamplingConfig
from tandem.rollout import Group, Problem, Prompt
from tandem.schedule import Schedule
from tandem.staleness import StalenessBuffer, StreamPosition, oldest_version

SAMPLING = SamplingConfig(max_tokens=20)
BATCH = 4


@pytest.fixture(scope="module")
def shared_stage(ray_session: None) -> Iterator[Any]:
    actor = new_stage()
    yield actor
    ray.kill(actor)


@pytest.fixture
def pool(shared_stage: Any) -> Iterator[RolloutPool]:
    """Two replicas on an empty stage."""
    ray.get(shared_stage.forget.remote())
    with RolloutPool(Config(), [StageReplica(shared_stage, replica) for replica in (0, 1)]) as pool:
        yield pool


def tasks(pool: RolloutPool, *durations: str) -> Callable[[int], GroupTask]:
    """Groups that take so many seconds, in turn."""

    def task_at(position: int) -> GroupTask:
        prompt = Prompt(Problem(str(position), durations[position % len(durations)], "!"), (1, 2, 3))
        return pool.task(prompt, ADMITTED, Schedule(), SAMPLING, f"t/{position}")

    return task_at


def writes_ahead(pool: RolloutPool, buffer: StalenessBuffer, duration: str = "0.8") -> AsyncGroupSource:
    return AsyncGroupSource(pool, buffer, tasks(pool, duration), SAMPLING.max_tokens)


def problem_ids(groups: list[Group]) -> list[str]:
    return [group.prompt.problem.id for group in groups]


def seconds_a_step(pool: RolloutPool, staleness: int, learning_s: float, steps: int) -> float:
    """What a step takes, after the first, with a learner that takes `learning_s`."""
    buffer = StalenessBuffer(BATCH, staleness, steps=steps)
    with writes_ahead(pool, buffer) as ahead:
        for step in range(1, steps + 1):
            if step == 2:
                start = time.perf_counter()
            groups = ahead.take(BATCH)
            assert len(groups) == BATCH
            assert all(0 <= step - 1 - oldest_version(group) <= staleness for group in groups)
            time.sleep(learning_s)
            assert pool.receive_weights(step) == [step, step]  # type: ignore[arg-type]
            ahead.advance(step)
        assert ahead.dropped == 0
        return (time.perf_counter() - start) / (steps - 1)


@pytest.mark.parametrize("learning_s", [0.4, 1.2], ids=["writing takes longer", "learning takes longer"])
def test_one_step_ahead_hides_the_shorter_of_writing_and_learning(pool: RolloutPool, learning_s: float) -> None:
    assert seconds_a_step(pool, 1, learning_s, steps=5) <= 1.15 * max(0.8, learning_s)


def test_on_policy_they_take_turns(pool: RolloutPool) -> None:
    assert seconds_a_step(pool, 0, 0.2, steps=3) >= 0.8 + 0.2


def test_what_is_in_flight_in_the_end_is_given_up(pool: RolloutPool, shared_stage: Any) -> None:
    with writes_ahead(pool, StalenessBuffer(BATCH, 1), NEVER):
        time.sleep(0.3)
    assert len(events(shared_stage, "cancelled")) == len(events(shared_stage, "given")) == 2 * FILL


def test_others_are_written_in_place_of_rejected_groups(pool: RolloutPool) -> None:
    with writes_ahead(pool, StalenessBuffer(BATCH, 0, steps=1), "0") as ahead:
        first = ahead.take(BATCH)
        ahead.reject(2)
        assert problem_ids([*first, *ahead.take(2)]) == [str(i) for i in range(BATCH + 2)]


def test_each_group_is_told_once_as_it_finishes(pool: RolloutPool) -> None:
    told: list[object] = []
    with writes_ahead(pool, StalenessBuffer(BATCH, 1, steps=2), "0") as ahead:
        ahead.take(BATCH, told.append)
        time.sleep(0.5)  # the next batch waits already
        ahead.take(BATCH, told.append)
    assert len(told) == 2 * BATCH


def test_in_turn_the_positions_follow_each_other_and_stragglers_are_counted(pool: RolloutPool) -> None:
    told: list[object] = []
    with SyncGroupSource(pool, tasks(pool, "0", "0", "0", "0", "0", NEVER), SAMPLING.max_tokens, deadline_s=0.5) as writing:
        assert problem_ids(writing.take(BATCH, told.append)) == ["0", "1", "2", "3"] and writing.dropped == 0
        assert problem_ids(writing.take(BATCH, told.append)) == ["4", "6", "7"] and writing.dropped == 1
    assert len(told) == 2 * BATCH - 1


def test_what_fails_in_the_writing_is_raised_where_the_groups_are_awaited(pool: RolloutPool) -> None:
    with writes_ahead(pool, StalenessBuffer(BATCH, 1), "fails") as ahead, pytest.raises(RolloutError, match="no such thing"):
        ahead.take(BATCH)


def test_in_turn_what_another_run_left_unfinished_comes_first(pool: RolloutPool) -> None:
    with SyncGroupSource(pool, tasks(pool, "0"), SAMPLING.max_tokens, place=StreamPosition(8, [2, 5, 6])) as writing:
        assert problem_ids(writing.take(2)) == ["2", "5"] and writing.place == StreamPosition(8, [6])
        assert problem_ids(writing.take(3)) == ["6", "8", "9"] and writing.place == StreamPosition(10, [])
