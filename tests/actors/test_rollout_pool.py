"""The pool of rollout actors, over Ray, with replicas that only wait; and what its cancelling leaves in real engines."""

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

from actors.dispatch import FILL, TaskQueue
from actors.replica import RolloutError
from actors.replicas import ReplicaSet
from actors.rollout import GroupTask
from actors.rollout_pool import RolloutPool
from tandem.authors import Authors
from tandem.config.rollout import SamplingConfig
from tandem.config.schema import Config
from tandem.guards import GuardError
from tandem.rollout import SENIOR, Group, Problem, Prompt
from tandem.runtime.restarts import RestartBudget
from tandem.schedule import Schedule
from tests.support.engine_pair import EnginePair
from tests.support.stage import ADMITTED, NEVER, SLOW, STUCK, UNLUCKY, MortalReplica, StageReplica, events, new_stage, published

WORD = Schedule(0.5, 32)
SAMPLING = SamplingConfig(max_tokens=20)


@pytest.fixture
def settings() -> Config:
    """A run's configuration; tests change what they are about."""
    return Config()


@pytest.fixture(scope="module")
def shared_stage(ray_session: None) -> Iterator[Any]:
    actor = new_stage()
    yield actor
    ray.kill(actor)


@pytest.fixture
def stage(shared_stage: Any) -> Any:
    """A stage where nothing has happened yet."""
    ray.get(shared_stage.forget.remote())
    return shared_stage


def pool_of(stage: Any, config: Config, *replicas: int) -> RolloutPool:
    return RolloutPool(config, ReplicaSet([StageReplica(stage, replica) for replica in replicas], config.guard))


def prompts(*questions: str) -> list[Prompt]:
    return [Prompt(Problem(str(i), question, "!"), (1, 2, 3)) for i, question in enumerate(questions)]


def queue_of(pool: RolloutPool, asked: Sequence[Prompt]) -> TaskQueue:
    """Return a queue with a group of two rollouts for each prompt."""
    return TaskQueue(pool.task(prompt, 2, WORD, SAMPLING, f"t/{index}") for index, prompt in enumerate(asked))


# Who writes what, and what comes back


def test_no_group_is_lost_or_doubled_and_the_prompts_order_is_kept(stage: Any, settings: Config) -> None:
    asked = prompts(*np.random.default_rng(0).uniform(0, 0.05, 60).astype(str))
    shown: list[str] = []
    with pool_of(stage, settings, 0, 1, 2) as pool:
        groups = pool.generate(asked, 2, WORD, SAMPLING, "t", on_group=lambda group: shown.append(group.prompt.problem.id))
    assert [group.prompt for group in groups] == asked
    assert [[r.id for r in group.rollouts] for group in groups] == [[f"t/{i}/0", f"t/{i}/1"] for i in range(60)]
    assert len({rollout.seed for group in groups for rollout in group.rollouts}) == 120
    assert Counter(problem for _, problem in events(stage, "given")) == Counter(str(i) for i in range(60))
    assert sorted(shown, key=int) == [str(i) for i in range(60)]


def test_groups_come_back_as_they_finish(stage: Any, settings: Config) -> None:
    asked = prompts("0.6", "0", "0.3")
    with pool_of(stage, settings, 0, 1) as pool:
        finished = list(pool.write(queue_of(pool, asked)))
    assert [(index, group.prompt) for index, group in finished] == [(index, asked[index]) for index in (1, 2, 0)]


def test_a_slow_replica_is_given_less(stage: Any, settings: Config) -> None:
    with pool_of(stage, settings, 0, SLOW) as pool:
        pool.generate(prompts(*["0.02"] * 48), 2, WORD, SAMPLING, "t")
    given = Counter(replica for replica, _ in events(stage, "given"))
    assert given[0] > 2 * given[SLOW] > 0


def test_what_replicas_have_no_room_for_waits_in_the_driver(stage: Any, settings: Config) -> None:
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


def test_all_groups_may_be_late_and_those_still_waiting_are_never_given(stage: Any, settings: Config) -> None:
    with pool_of(stage, settings, 0) as pool:
        assert pool.generate(prompts(*[NEVER] * 9), ADMITTED, WORD, SAMPLING, "t", deadline_s=0.3) == []
    assert len(events(stage, "given")) == len(events(stage, "cancelled")) == FILL


def test_cancelled_rollouts_leave_their_places_in_the_engines(engines: EnginePair, authors: Authors) -> None:
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
    # Twice as many as the engines hold: they would wait for ever for a place that a dropped rollout kept.
    assert len(engines.run(engines.actor.write_group(task("next", 8))).rollouts) == size


# Failures


def test_a_replica_that_fails_is_named(stage: Any, settings: Config) -> None:
    with pool_of(stage, settings, 0, 1) as pool, pytest.raises(RolloutError, match=r"(?s)actor 1 of 2 failed .*no such thing"):
        pool.generate(prompts("0.5", "fails"), 2, WORD, SAMPLING, "t")


def test_replicas_that_are_late_are_named(stage: Any, settings: Config) -> None:
    settings.rollout.timeout_s = settings.guard.publish_timeout_s = 0.3
    with pool_of(stage, settings, 0, STUCK, 2) as pool:
        with pytest.raises(TimeoutError, match=r"\[1\] finished none of 1 groups within rollout.timeout_s=0.3"):
            pool.generate(prompts("0", NEVER, "0.1"), 2, WORD, SAMPLING, "t")
        with pytest.raises(TimeoutError, match=r"\[1\] of 3 did not finish 'receive_weights' within 0.3 s"):
            pool.finish_weight_sync(None)  # type: ignore[arg-type]


def test_a_start_that_fails_ends_the_others(stage: Any, settings: Config) -> None:
    with pytest.raises(RolloutError, match=r"(?s)actor 1 of 3 failed in 'start'.*an unlucky start"):
        pool_of(stage, settings, 0, UNLUCKY, 2)
    assert sorted(replica for replica, _ in events(stage, "closed")) == [0, 2, UNLUCKY]


# Losses


@pytest.fixture
def mortals(ray_session: None) -> Iterator[list[MortalReplica]]:
    """Two replicas that die one by one."""
    replicas = [MortalReplica() for _ in range(2)]
    yield replicas
    for replica in replicas:
        replica.kill()


def versions(groups: Sequence[Group]) -> set[int]:
    """Of the weights that the senior's tokens were sampled from."""
    return {int(v) for group in groups for r in group.rollouts for v in r.weight_versions[r.authorship == SENIOR]}


def test_the_groups_of_a_replica_that_dies_are_written_by_others(mortals: list[MortalReplica], settings: Config) -> None:
    asked = prompts(*["0.1"] * 40)
    with RolloutPool(settings, ReplicaSet(mortals, settings.guard)) as pool:
        finished = []
        for index, group in pool.write(queue_of(pool, asked)):
            finished.append((index, [rollout.id for rollout in group.rollouts]))
            if len(finished) == 6:
                mortals[0].kill()
    assert sorted(finished) == [(i, [f"t/{i}/0", f"t/{i}/1"]) for i in range(40)]


def test_a_replica_that_comes_back_has_the_last_published_weights(mortals: list[MortalReplica], settings: Config) -> None:
    with RolloutPool(settings, ReplicaSet(mortals[:1], settings.guard)) as pool:
        assert pool.finish_weight_sync(published(5)) == [5]
        mortals[0].kill()
        assert versions(pool.generate(prompts("0", "0"), 2, WORD, SAMPLING, "t")) == {5}
        mortals[0].kill()
        assert pool.checksums(SENIOR) == [["5"]], "who is asked again is asked once it is back"


def test_a_replica_that_comes_back_waits_for_weights_that_are_being_written(
    mortals: list[MortalReplica], settings: Config
) -> None:
    with RolloutPool(settings, ReplicaSet(mortals[:1], settings.guard)) as pool, ThreadPoolExecutor() as threads:
        pool.finish_weight_sync(published(5))
        pool.begin_weight_sync()
        mortals[0].kill()
        writing = threads.submit(pool.generate, prompts("0", "0"), 2, WORD, SAMPLING, "t")
        with pytest.raises(FutureTimeoutError):
            writing.result(timeout=4)
        pool.finish_weight_sync(published(6))
        assert versions(writing.result()) == {6}


def test_a_replica_that_dies_twice_before_it_has_written_ends_the_run(mortals: list[MortalReplica], settings: Config) -> None:
    budget = RestartBudget(20)
    with (
        RolloutPool(settings, ReplicaSet(mortals[:1], settings.guard, budget)) as pool,
        pytest.raises(GuardError, match="rollout actor 0 died twice in the same way before it had done any work"),
    ):
        pool.generate(prompts("dies"), 2, WORD, SAMPLING, "t")
    assert budget.total == 1


def test_replicas_that_die_again_and_again_end_the_run(mortals: list[MortalReplica], settings: Config) -> None:
    budget = RestartBudget(2)
    with RolloutPool(settings, ReplicaSet(mortals[:1], settings.guard, budget)) as pool:
        pool.generate(prompts("0"), 2, WORD, SAMPLING, "t")
        with pytest.raises(GuardError, match=r"\(rollout actor 0 3 times\).*max_restarts_per_hour=2"):
            pool.generate(prompts("dies"), 2, WORD, SAMPLING, "t")


def test_an_error_is_no_death(mortals: list[MortalReplica], settings: Config) -> None:
    budget = RestartBudget(1)
    with RolloutPool(settings, ReplicaSet(mortals[:1], settings.guard, budget)) as pool:
        with pytest.raises(RolloutError, match="no such thing"):
            pool.generate(prompts("fails"), 2, WORD, SAMPLING, "t")
        assert budget.total == 0 and len(pool.generate(prompts("0"), 2, WORD, SAMPLING, "t")) == 1
