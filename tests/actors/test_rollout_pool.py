"""Tests of the rollout pool on Ray, with simulated replicas that only sleep; cancellation in real engines."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any

import numpy as np
import pytest
import ray
from ray.exceptions import OutOfMemoryError

from actors.dispatch import FILL, TaskQueue
from actors.group_task import GroupTask
from actors.replica import ReplicaFailed, RolloutError
from actors.replicas import ReplicaSet
from actors.rollout_pool import RolloutPool
from bench.simulated import SimulatedReplica
from tandem.authors import Authors
from tandem.config.rollout import SamplingConfig
from tandem.config.schema import Config
from tandem.guards import GuardError
from tandem.rollout import SENIOR, Group, Problem, Prompt
from tandem.runtime.restarts import RestartBudget
from tandem.schedule import Schedule
from tests.support.engine_pair import EnginePair
from tests.support.stage import ADMITTED, NEVER, SLOW, STUCK, UNLUCKY, MortalReplica, events, published

WORD = Schedule(0.5, 32)
SAMPLING = SamplingConfig(max_tokens=20)


@pytest.fixture
def settings() -> Config:
    """A run's configuration, which tests change."""
    return Config()


@pytest.fixture
def stage(shared_stage: Any) -> Any:
    """A stage without events."""
    ray.get(shared_stage.reset.remote())
    return shared_stage


def pool_of(stage: Any, config: Config, *replicas: int) -> RolloutPool:
    return RolloutPool(
        config, ReplicaSet([SimulatedReplica(stage, replica) for replica in replicas], config.guard, RestartBudget(20))
    )


def prompts(*questions: str) -> list[Prompt]:
    return [Prompt(Problem(str(i), question, "!"), (1, 2, 3)) for i, question in enumerate(questions)]


def queue_of(pool: RolloutPool, asked: Sequence[Prompt]) -> TaskQueue:
    """Return a queue with a group of two rollouts for each prompt."""
    return TaskQueue(pool.task(prompt, 2, WORD, SAMPLING, f"t/{index}") for index, prompt in enumerate(asked))


# Dispatch and order


def test_each_group_is_written_once_and_returned_in_order(stage: Any, settings: Config) -> None:
    asked = prompts(*np.random.default_rng(0).uniform(0, 0.05, 60).astype(str))
    finished: list[str] = []
    with pool_of(stage, settings, 0, 1, 2) as pool:
        groups = pool.generate(asked, 2, WORD, SAMPLING, "t", on_group=lambda group: finished.append(group.prompt.problem.id))
    assert [group.prompt for group in groups] == asked
    assert [[r.id for r in group.rollouts] for group in groups] == [[f"t/{i}/0", f"t/{i}/1"] for i in range(60)]
    assert len({rollout.seed for group in groups for rollout in group.rollouts}) == 120
    assert Counter(problem for _, problem in events(stage, "given")) == Counter(str(i) for i in range(60))
    assert sorted(finished, key=int) == [str(i) for i in range(60)]


def test_groups_are_yielded_as_they_finish(stage: Any, settings: Config) -> None:
    asked = prompts("0.6", "0", "0.3")
    with pool_of(stage, settings, 0, 1) as pool:
        finished = list(pool.write(queue_of(pool, asked)))
    assert [(index, group.prompt) for index, group in finished] == [(index, asked[index]) for index in (1, 2, 0)]


def test_slow_replica_receives_fewer_groups(stage: Any, settings: Config) -> None:
    with pool_of(stage, settings, 0, SLOW) as pool:
        pool.generate(prompts(*["0.02"] * 48), 2, WORD, SAMPLING, "t")
    given = Counter(replica for replica, _ in events(stage, "given"))
    assert given[0] > 2 * given[SLOW] > 0


def test_groups_wait_in_driver_while_replicas_are_full(stage: Any, settings: Config) -> None:
    each = FILL * ADMITTED // 2  # groups of two
    with pool_of(stage, settings, 0, 1) as pool:
        stream = pool.write(queue_of(pool, prompts(*["0.3"] * 6 * each)))
        next(stream)
        assert Counter(replica for replica, _ in events(stage, "given")) == {0: each, 1: each}
        assert len(list(stream)) == 6 * each - 1


# Stragglers


def test_stragglers_are_cancelled_and_dropped(stage: Any, settings: Config) -> None:
    asked = prompts("0.1", NEVER, "0", NEVER, "0.2")
    with pool_of(stage, settings, 0, 1) as pool:
        groups = pool.generate(asked, 2, WORD, SAMPLING, "a", deadline_s=0.6)
        assert [group.prompt.problem.id for group in groups] == ["0", "2", "4"]
        assert sorted(problem for _, problem in events(stage, "cancelled")) == ["1", "3"], "before generate returns"
        assert len(pool.generate(prompts("0", "0"), 2, WORD, SAMPLING, "b", deadline_s=60)) == 2


def test_after_deadline_no_waiting_group_is_dispatched(stage: Any, settings: Config) -> None:
    with pool_of(stage, settings, 0) as pool:
        assert pool.generate(prompts(*[NEVER] * 9), ADMITTED, WORD, SAMPLING, "t", deadline_s=0.3) == []
    assert len(events(stage, "given")) == len(events(stage, "cancelled")) == FILL


def test_cancelled_rollouts_free_their_slots(engines: EnginePair, authors: Authors) -> None:
    prompt = Prompt(Problem("0", "?", "!"), tuple(authors.tokenizer.encode("Tom has 3 apples.")))
    size = 2 * engines.admitted

    def task(tag: str, max_tokens: int) -> GroupTask:
        names = tuple(f"{tag}/{k}" for k in range(size))
        return GroupTask(prompt, names, tuple(range(size)), WORD, SamplingConfig(1.0, max_tokens))

    async def cancelled_midway() -> bool:
        writing = asyncio.ensure_future(engines.actor.write_group(task("dropped", 96)))
        await asyncio.sleep(0.2)
        writing.cancel()
        await asyncio.wait([writing])
        return writing.cancelled()

    assert engines.run(cancelled_midway())
    # Twice as many as the engines hold: with an occupied slot they would wait forever.
    assert len(engines.run(engines.actor.write_group(task("next", 8))).rollouts) == size


# Failures


def test_failed_replica_is_named(stage: Any, settings: Config) -> None:
    with pool_of(stage, settings, 0, 1) as pool, pytest.raises(RolloutError, match=r"(?s)actor 1 of 2 failed .*no such thing"):
        pool.generate(prompts("0.5", "fails"), 2, WORD, SAMPLING, "t")


def test_late_replicas_are_named(stage: Any, settings: Config) -> None:
    settings.rollout.timeout_s = settings.guard.call_timeout_s = 2.0
    with pool_of(stage, settings, 0, STUCK, 2) as pool:
        with pytest.raises(RolloutError, match=r"\[1\] finished none of 1 groups within rollout.timeout_s=2"):
            pool.generate(prompts("0", NEVER, "0.1"), 2, WORD, SAMPLING, "t")
        with pytest.raises(RolloutError, match=r"\[1\] of 3 did not finish 'receive_weights' within guard.call_timeout_s=2"):
            pool.finish_weight_sync(None)  # type: ignore[arg-type]


def test_failed_start_ends_other_replicas(stage: Any, settings: Config) -> None:
    with pytest.raises(RolloutError, match=r"(?s)actor 1 of 3 failed in 'start'.*an unlucky start"):
        pool_of(stage, settings, 0, UNLUCKY, 2)
    assert sorted(replica for replica, _ in events(stage, "closed")) == [0, 2, UNLUCKY]


# Restarts


@pytest.fixture
def mortals(ray_session: None) -> Iterator[list[MortalReplica]]:
    """Two replicas that can be killed separately."""
    replicas = [MortalReplica() for _ in range(2)]
    yield replicas
    for replica in replicas:
        replica.kill()


def versions(groups: Sequence[Group]) -> set[int]:
    """Return the versions of the weights that sampled the senior's tokens."""
    return {int(v) for group in groups for r in group.rollouts for v in r.weight_versions[r.authorship == SENIOR]}


def test_groups_of_dead_replica_are_written_again(mortals: list[MortalReplica], settings: Config) -> None:
    asked = prompts(*["0.1"] * 40)
    with RolloutPool(settings, ReplicaSet(mortals, settings.guard, RestartBudget(20))) as pool:
        finished = []
        for index, group in pool.write(queue_of(pool, asked)):
            finished.append((index, [rollout.id for rollout in group.rollouts]))
            if len(finished) == 6:
                mortals[0].kill()
    assert sorted(finished) == [(i, [f"t/{i}/0", f"t/{i}/1"]) for i in range(40)]


def test_replica_that_ray_kills_for_its_memory_restarts(mortals: list[MortalReplica], settings: Config) -> None:
    replica_set = ReplicaSet(mortals[:1], settings.guard, RestartBudget(20))
    with RolloutPool(settings, replica_set) as pool:
        call = replica_set.call(0, "processes")
        with pytest.raises(ReplicaFailed, match="low on memory"):
            replica_set.answer(call, lambda: raise_(OutOfMemoryError("the node was low on memory")))
        replica_set.await_running()
        assert len(pool.generate(prompts("0"), 2, WORD, SAMPLING, "t")) == 1
        with pytest.raises(ReplicaFailed):  # of the actor that was replaced
            replica_set.answer(call, lambda: raise_(OutOfMemoryError("again")))
        assert replica_set.capacities == pool.admitted == [ADMITTED]


def raise_(error: Exception) -> None:
    raise error


def test_restarted_replica_has_latest_weights(mortals: list[MortalReplica], settings: Config) -> None:
    with RolloutPool(settings, ReplicaSet(mortals[:1], settings.guard, RestartBudget(20))) as pool:
        assert pool.finish_weight_sync(published(5)) == [5]
        mortals[0].kill()
        assert versions(pool.generate(prompts("0", "0"), 2, WORD, SAMPLING, "t")) == {5}
        mortals[0].kill()
        assert pool.checksums(SENIOR) == [["5"]], "the call is repeated after the restart"


def test_restarted_replica_waits_for_end_of_weight_sync(mortals: list[MortalReplica], settings: Config) -> None:
    with (
        RolloutPool(settings, ReplicaSet(mortals[:1], settings.guard, RestartBudget(20))) as pool,
        ThreadPoolExecutor() as threads,
    ):
        pool.finish_weight_sync(published(5))
        pool.begin_weight_sync()
        mortals[0].kill()
        writing = threads.submit(pool.generate, prompts("0", "0"), 2, WORD, SAMPLING, "t")
        with pytest.raises(FutureTimeoutError):
            writing.result(timeout=4)
        pool.finish_weight_sync(published(6))
        assert versions(writing.result()) == {6}


def test_replica_that_dies_twice_before_it_wrote_ends_run(mortals: list[MortalReplica], settings: Config) -> None:
    budget = RestartBudget(20)
    with (
        RolloutPool(settings, ReplicaSet(mortals[:1], settings.guard, budget)) as pool,
        pytest.raises(GuardError, match="rollout actor 0 died twice in the same way before it had done any work"),
    ):
        pool.generate(prompts("dies"), 2, WORD, SAMPLING, "t")
    assert budget.total == 1


def test_too_many_restarts_end_run(mortals: list[MortalReplica], settings: Config) -> None:
    budget = RestartBudget(2)
    with RolloutPool(settings, ReplicaSet(mortals[:1], settings.guard, budget)) as pool:
        pool.generate(prompts("0"), 2, WORD, SAMPLING, "t")
        with pytest.raises(GuardError, match=r"\(rollout actor 0 3 times\).*max_restarts_per_hour=2"):
            pool.generate(prompts("dies"), 2, WORD, SAMPLING, "t")


def test_application_error_does_not_restart_replica(mortals: list[MortalReplica], settings: Config) -> None:
    budget = RestartBudget(1)
    with RolloutPool(settings, ReplicaSet(mortals[:1], settings.guard, budget)) as pool:
        with pytest.raises(RolloutError, match="no such thing"):
            pool.generate(prompts("fails"), 2, WORD, SAMPLING, "t")
        assert budget.total == 0 and len(pool.generate(prompts("0"), 2, WORD, SAMPLING, "t")) == 1
