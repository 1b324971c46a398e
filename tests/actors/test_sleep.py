"""Tests of engines that sleep during updates: their calls, and unchanged texts."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray
import torch
from transformers import AutoModelForCausalLM
from vllm.v1.engine.async_llm import AsyncLLM

from actors.engine import Engine
from actors.engine_layout import engine_specs
from actors.replicas import ReplicaSet
from actors.rollout_pool import RolloutPool
from bench.simulated import SimulatedReplica
from launch.cluster.reservation import Placements
from launch.run.inputs import Inputs
from learner.group import LearnerGroup
from learner.publish import Publisher
from tandem.authors import Authors
from tandem.config.run import GuardConfig
from tandem.config.schema import Config
from tandem.rollout import SENIOR, Group, Prompt
from tandem.runtime.errors import RunError
from tandem.runtime.restarts import RestartBudget
from tandem.runtime.weights import IPC, SHM, PublishedWeights
from tandem.schedule import Schedule
from tests.support.actor_death import kill_actor
from tests.support.engine_pair import EnginePair
from tests.support.lockstep import Lockstep
from tests.support.lockstep_runs import rows, run, weights
from tests.support.random_groups import random_groups
from tests.support.stage import MortalReplica, new_stage, published
from tests.support.writing import write

pytestmark = pytest.mark.engines

WORD = Schedule(0.5, 32)


@pytest.fixture
def publisher(authors: Authors, tmp_path: Path) -> Iterator[Publisher]:
    """A publisher of the base model's weights."""
    model = AutoModelForCausalLM.from_pretrained(authors.senior, dtype=torch.float32)
    yield (publisher := Publisher(model, tmp_path / "segment", bucket_bytes=1 << 20))
    publisher.close()


# Real engines; on CPU their workers accept the calls and keep their memory


def sleeping(engines: EnginePair) -> set[bool]:
    """Return whether the engines sleep, as vLLM reports it."""

    async def query() -> set[bool]:
        return {await engine._llm.is_sleeping() for engine in engines.actor._engines.values()}

    return engines.run(query())


def test_sleep_does_not_change_what_engines_write(engines: EnginePair, prompts: list[Prompt], publisher: Publisher) -> None:
    before = write(engines, prompts[:6], WORD, "before-sleep", temperature=0)
    assert sleeping(engines) == {False}
    engines.run(engines.actor.sleep())
    assert sleeping(engines) == {True}
    for refused in (
        lambda: write(engines, prompts[:1], WORD, "asleep"),
        lambda: engines.run(engines.actor.checksums(SENIOR)),
    ):
        with pytest.raises(RuntimeError, match=r"the engine of .* is asleep; wake it or send it weights"):
            refused()
    published = publisher.publish(0)
    assert published is not None and engines.run(engines.actor.receive_weights(published)) == 0
    assert sleeping(engines) == {False}
    after = write(engines, prompts[:6], WORD, "after-sleep", temperature=0)
    for one, other in zip(before, after, strict=True):
        assert one.token_ids.tolist() == other.token_ids.tolist() and one.authorship.tolist() == other.authorship.tolist()


# The calls of an engine on a GPU


class RecordingLLM:
    """A fake vLLM engine that records its calls."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.options: Any = None
        """the arguments at its start"""
        self.version = "0"
        self.model_config = SimpleNamespace(get_vocab_size=lambda: 0)

    def __getattr__(self, name: str) -> Any:
        async def method(*arguments: Any, **options: Any) -> None:
            memory = "+".join(arguments[0]) if name == "wake_up" else options.get("level", "")
            self.calls.append(f"{name} {memory}".strip())
            await asyncio.sleep(0)

        return method

    async def collective_rpc(self, method: str, args: tuple[Any, ...] = ()) -> None:
        self.calls.append(method)

    async def update_weight_version(self, version: str) -> None:
        self.calls.append("update_weight_version")
        self.version = version

    async def get_weight_version(self) -> str:
        return self.version


@pytest.fixture
def llm(monkeypatch: pytest.MonkeyPatch) -> RecordingLLM:
    """The fake that `Engine` starts instead of vLLM."""
    llm = RecordingLLM()

    def start(args: Any) -> RecordingLLM:
        llm.options = args
        return llm

    monkeypatch.setattr(AsyncLLM, "from_engine_args", start)
    return llm


@pytest.mark.parametrize("sleep", [False, True])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_sleep_is_enabled_on_gpus_when_requested(
    llm: RecordingLLM, config: Config, authors: Authors, sleep: bool, device: str
) -> None:
    for spec in engine_specs(config, authors, device, sleep=sleep)[0]:
        Engine(spec)
        assert llm.options.enable_sleep_mode == (sleep and device == "cuda")


@pytest.mark.parametrize("transport", [SHM, IPC])
def test_weights_wake_before_loading_and_kv_cache_before_writing(
    llm: RecordingLLM, config: Config, authors: Authors, transport: str
) -> None:
    spec = engine_specs(config, authors, "cuda", transport=transport, sleep=True)[0][0]
    message = published(1) if transport == SHM else PublishedWeights(1, transport)

    async def update_once() -> None:
        engine = Engine(spec)
        await engine.sleep()
        if transport == IPC:
            for step in ("start", "update", "finish"):
                await engine.transfer(step, {})
        await engine.receive_weights(message)
        await engine.wake()  # no effect: it is awake

    asyncio.run(update_once())
    asleep, awake, *loading, cache, resumed = llm.calls
    assert (asleep, awake, cache, resumed) == ("sleep 1", "wake_up weights", "wake_up kv_cache", "resume_generation")
    by_us = ["map_weights", "check_weights", "load_weights"]
    by_vllm = ["start_weight_update", "update_weights", "finish_weight_update"]
    assert loading == ["pause_generation", *(by_us if transport == SHM else by_vllm), "update_weight_version"]


@pytest.mark.parametrize("interrupted", [False, True])
def test_restarted_learner_connects_again_unless_a_transfer_was_interrupted(
    llm: RecordingLLM, config: Config, authors: Authors, interrupted: bool
) -> None:
    engine = Engine(engine_specs(config, authors, "cuda", transport=IPC)[0][0])

    async def restart() -> None:
        for step in ("init", "start", "update", "finish")[: 3 if interrupted else 4]:
            await engine.transfer(step, {})
        llm.calls.clear()
        await engine.transfer("init", {})

    if interrupted:
        with pytest.raises(RunError, match=r"the learner died while it sent weights to the engine of .*; resume the run$"):
            asyncio.run(restart())
        assert not llm.calls
    else:
        asyncio.run(restart())
        assert llm.calls == ["shutdown_weight_transfer_engine", "init_weight_transfer_engine"]


def test_engine_started_without_sleep_refuses_it(llm: RecordingLLM, config: Config, authors: Authors) -> None:
    (senior, _) = engine_specs(config, authors, "cuda")[0]
    with pytest.raises(RuntimeError, match="was not started with sleep enabled"):
        asyncio.run(Engine(senior).sleep())
    assert not llm.calls


# The pool and the run


class RecordingReplica:
    """A replica whose calls are recorded."""

    def __init__(self, replica: Any, name: str, calls: list[str]) -> None:
        self._replica, self._name, self._calls = replica, name, calls

    def call(self, method: str, *arguments: Any) -> ray.ObjectRef:
        self._calls.append(f"{self._name} {method}")
        return self._replica.call(method, *arguments)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._replica, name)


def test_engines_sleep_after_all_restarts_and_wake_if_they_were_awake(ray_session: None) -> None:
    calls: list[str] = []
    stage, mortal = new_stage(), MortalReplica()
    replicas = [RecordingReplica(SimulatedReplica(stage, 0), "immortal", calls), RecordingReplica(mortal, "mortal", calls)]
    with RolloutPool(Config(), ReplicaSet(replicas, GuardConfig(), RestartBudget(20)), sleeps=True) as pool:
        calls.clear()
        mortal.kill()
        while "mortal start" not in calls:
            pool.kv_use()  # detects the death
        with pool.sleeping():
            assert sorted(calls[-2:]) == ["immortal sleep", "mortal sleep"]
            calls.clear()
            with pool.sleeping():
                assert not calls, "they are already asleep"
            assert not calls, "and stay asleep"
        assert calls == ["immortal wake", "mortal wake"]
    with RolloutPool(Config(), ReplicaSet(replicas[:1], GuardConfig(), RestartBudget(20))) as pool, pool.sleeping():
        assert calls[-1] == "immortal processes", "without `sleeps` nothing is called"
    ray.kill(stage)
    mortal.kill()


class Sleeper(Lockstep):
    """An engine in lockstep that refuses other calls while it sleeps."""

    asleep = False

    def sleep(self) -> None:
        assert not self.asleep
        Sleeper.asleep = True

    def wake(self) -> None:
        assert self.asleep
        Sleeper.asleep = False

    def receive_weights(self, published: PublishedWeights) -> int:
        Sleeper.asleep = False
        return super().receive_weights(published)

    def call(self, method: str, *arguments: Any) -> ray.ObjectRef:
        assert not self.asleep or method in ("wake", "receive_weights", "close"), f"{method} while it sleeps"
        return super().call(method, *arguments)


def test_engines_sleep_during_updates_and_repeated_updates(
    whole_run: Path, lockstep_settings: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start_sleepers(inputs: Inputs, done: int, budget: RestartBudget, placements: Placements) -> RolloutPool:
        replica_set = ReplicaSet([Sleeper(inputs.authors)], inputs.config.guard, budget)
        return RolloutPool(inputs.config, replica_set, sleeps=True)

    updates: list[int] = []

    def update(group: LearnerGroup, groups: Sequence[Group], step: int) -> dict[str, float]:
        assert Sleeper.asleep
        updates.append(step)
        return real_update(group, groups, step)

    def save(group: LearnerGroup, folder: Path) -> None:
        if len(updates) == 4:  # after the last step: the engines are awake
            kill_actor(group._ranks[0])
        real_save(group, folder)

    real_update, real_save = LearnerGroup.update, LearnerGroup.save
    monkeypatch.setattr(LearnerGroup, "update", update)
    monkeypatch.setattr(LearnerGroup, "save", save)
    slept = run(replace(lockstep_settings, name="slept"), start_sleepers)
    assert updates == [1, 2, 3, 4, 3, 4] and not Sleeper.asleep
    assert rows(slept) == rows(whole_run) and weights(slept, 4) == weights(whole_run, 4)


# A GPU


@pytest.mark.gpu
@pytest.mark.parametrize("transport", [SHM, IPC])
def test_sleeping_engine_frees_gpu_for_learner(
    ray_session: None, config: Config, authors: Authors, prompts: list[Prompt], tmp_path: Path, transport: str
) -> None:
    settings = deepcopy(config)
    settings.rollout.gpu_memory_fraction = settings.rollout.junior_gpu_memory_fraction = 0.25
    free = lambda: torch.cuda.mem_get_info()[0]  # noqa: E731
    total = torch.cuda.mem_get_info()[1]
    with (
        LearnerGroup(settings, str(authors.senior), tmp_path / "weights", gpus_per_rank=0.5, transport=transport) as learner,
        RolloutPool.of_engines(
            settings, authors, RestartBudget(0), gpus_per_replica=0.5, transport=transport, sleep=True
        ) as pool,
    ):
        learner.connect(pool.actors)
        for version in (1, 2):
            awake = free()
            pool.sleep()
            assert free() - awake > 0.4 * total, "two engines had a quarter each"
            learner.update(random_groups(version, vocabulary=150), version)
            assert pool.finish_weight_sync(learner.publish(version)) == [version]
            groups = pool.generate(prompts[:4], 2, WORD, settings.rollout.sampling, f"after{version}")
            assert {int(v) for group in groups for r in group.rollouts for v in r.weight_versions} >= {version}
