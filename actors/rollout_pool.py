"""The rollout actors as the driver sees them: one object, however many replicas."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import replace
from types import TracebackType
from typing import Self

import psutil
import ray
from ray.actor import ActorHandle
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from actors.dispatch import TaskQueue
from actors.engine_spec import EngineSpec
from actors.placement import Cores, engine_specs, reseeded
from actors.replica import ActorReplica, Replica
from actors.replicas import ReplicaSet, RolloutError
from actors.rollout import GroupTask, RolloutActor
from actors.write_loop import WriteLoop
from tandem.authors import Authors
from tandem.config.schema import Config, SamplingConfig
from tandem.rollout import BASE_VERSION, Group, Prompt
from tandem.runtime.restarts import RestartBudget
from tandem.runtime.trace import Row
from tandem.runtime.weights import SHM, PublishedWeights
from tandem.schedule import Schedule

CONCURRENT_GROUPS = 10_000
"""Calls that an actor accepts at a time; admission is its own business."""


class RolloutPool:
    """Starts `replicas` and spreads groups over them; a context manager that ends them.

    They start all at once, or with `at_once` false one after the other. `junior_weights` say how often each junior is drawn,
    `sleeps` whether the engines are to give their GPU's memory back while the learner learns (`sleep`).
    One that dies is started again as `budget` allows, and the groups it was writing are given away anew (see
    `actors.replicas.ReplicaSet`). Every method that waits for replicas raises `RolloutError` when one fails, `TimeoutError`
    when one is late, both naming it, and `GuardError` when they die too often.
    """

    def __init__(
        self,
        config: Config,
        replicas: Sequence[Replica],
        *,
        junior_weights: tuple[float, ...] = (1.0,),
        at_once: bool = True,
        sleeps: bool = False,
        budget: RestartBudget | None = None,
    ) -> None:
        self._config, self._junior_weights = config, junior_weights
        self.sleeps, self._asleep = sleeps, False
        budget = budget or RestartBudget(config.guard.max_restarts_per_hour)
        self._replica_set = ReplicaSet(replicas, budget, config.guard.publish_timeout_s, at_once=at_once)

    @property
    def admitted(self) -> list[int]:
        """Rollouts that each replica writes at a time."""
        return self._replica_set.admitted

    @classmethod
    def of_engines(
        cls,
        config: Config,
        authors: Authors,
        *,
        gpus_per_replica: float = 0.0,
        first_version: int = BASE_VERSION,
        transport: str = SHM,
        sleep: bool = False,
        budget: RestartBudget | None = None,
        cores: Cores = (),
        placements: Sequence[PlacementGroupSchedulingStrategy] = (),
    ) -> RolloutPool:
        """`config.rollout.replicas` rollout actors with `gpus_per_replica` GPUs each (0: their engines run on the CPU, bound to
        `cores`, or to cores of this machine of their own as far as there are any), each where its seat says, for a run that
        goes on from version `first_version` of the weights. Those of the seniors come by `transport`. With `sleep` the engines
        can sleep.
        """
        device, own_gpus = "cuda" if gpus_per_replica else "cpu", gpus_per_replica > 1
        options = {"num_cpus": 0, "num_gpus": gpus_per_replica, "max_concurrency": CONCURRENT_GROUPS}
        actor = ray.remote(RolloutActor)

        def replica(specs: Sequence[EngineSpec], seat: PlacementGroupSchedulingStrategy | None) -> Replica:
            def make(before: int) -> ActorHandle:
                if before and transport != SHM:
                    raise RolloutError(
                        f"a rollout actor was lost, and weights that come by {transport} reach only those that the learner met "
                        "at the start; go on with resume=auto, or use learner.transport=shm, with which it is started again"
                    )
                return actor.options(**options, scheduling_strategy=seat).remote(reseeded(specs, before))

            return ActorReplica(make)

        specs = engine_specs(
            config,
            authors,
            device,
            first_version=first_version,
            transport=transport,
            cores=cores,
            own_gpus=own_gpus,
            sleep=sleep,
        )
        replicas = [replica(engines, seat) for engines, seat in zip(specs, placements or [None] * len(specs), strict=True)]
        # Engines that share a GPU measure its free memory as they start: one after the other.
        at_once = not 0 < gpus_per_replica < 1
        return cls(config, replicas, junior_weights=authors.junior_weights, at_once=at_once, sleeps=sleep, budget=budget)

    @contextmanager
    def borrow(self, config: Config, authors: Authors) -> Iterator[RolloutPool]:
        """The same replicas for the run that `config` describes, which does not end them. It begins by publishing to them."""
        borrowed = copy(self)
        borrowed._config, borrowed._junior_weights = config, authors.junior_weights
        yield borrowed

    def generate(
        self,
        prompts: Sequence[Prompt],
        group_size: int,
        schedule: Schedule,
        sampling: SamplingConfig,
        tag: str,
        *,
        deadline_s: float = 0.0,
        on_group: Callable[[Group], None] = lambda _: None,
    ) -> list[Group]:
        """Write `group_size` rollouts for each prompt, as `write_all`. `tag` must be unique in a run."""
        tasks = [self.task(prompt, group_size, schedule, sampling, f"{tag}/{index}") for index, prompt in enumerate(prompts)]
        return self.write_all(tasks, deadline_s=deadline_s, on_group=on_group)

    def write_all(
        self,
        tasks: Iterable[GroupTask],
        *,
        deadline_s: float = 0.0,
        on_group: Callable[[Group], None] = lambda _: None,
    ) -> list[Group]:
        """Return the groups of `tasks` in order, without those dropped (see `write`). Calls `on_group` as each finishes."""
        groups: dict[int, Group] = {}
        for index, group in self.write(TaskQueue(tasks), deadline_s=deadline_s):
            groups[index] = group
            on_group(group)
        return [groups[index] for index in sorted(groups)]

    def write(self, queue: TaskQueue, *, deadline_s: float = 0.0) -> Iterator[tuple[int, Group]]:
        """Write the groups of `queue`; yield each as it finishes, after its index.

        Groups that are unfinished `deadline_s` seconds after the start are cancelled and dropped (0: never). Raises
        `TimeoutError` when no group finishes within `rollout.timeout_s`. Tasks are dispatched between two groups: iterate
        without delay, and to the end.
        """
        timeout_s = self._config.rollout.timeout_s
        return WriteLoop(self._replica_set, queue, deadline_s=deadline_s or math.inf, timeout_s=timeout_s).run()

    def task(self, prompt: Prompt, group_size: int, schedule: Schedule, sampling: SamplingConfig, name: str) -> GroupTask:
        """The group `name` (unique in a run) of `group_size` rollouts for `prompt`; name and the run's seed determine each
        rollout's id and schedule seed."""
        ids = tuple(f"{name}/{k}" for k in range(group_size))
        seeds = tuple(zlib.crc32(f"{self._config.seed}/{rollout_id}".encode()) for rollout_id in ids)
        return GroupTask(prompt, ids, seeds, schedule, sampling, self._junior_weights)

    @property
    def actors(self) -> list[ActorHandle]:
        """The replicas' actors, for a learner to meet."""
        return self._replica_set.actors

    def begin_weight_sync(self) -> None:
        """To be called before the learner writes a version over the last one: a replica that comes back may be reading that."""
        self._replica_set.begin_weight_sync()

    def receive_weights(self, published: PublishedWeights) -> list[int]:
        """Has every senior engine take published weights; returns the version that each then reports.

        A replica that is being started again is left out; it receives them before it is given anything.
        """
        reported = self._replica_set.publish(published)
        self._asleep = False
        return reported

    def sleep(self) -> None:
        """Has all engines give the memory of their GPUs back until they receive weights; no group may be in flight. Waits for
        replicas that are being started again."""
        self._replica_set.await_all()  # an engine measures the free memory while it starts
        self._replica_set.ask("sleep", timeout_s=self._config.guard.publish_timeout_s)
        self._asleep = True

    @contextmanager
    def sleeping(self) -> Iterator[None]:
        """In the block the engines sleep, if they may at all; after it they are as they were."""
        if not self.sleeps or self._asleep:
            yield
            return
        self.sleep()
        yield
        self._replica_set.ask("wake", timeout_s=self._config.guard.publish_timeout_s)
        self._asleep = False

    def checksums(self, author: int) -> list[list[str]]:
        """Fingerprints of the weights of `author`'s engines, by replica (see `RolloutActor.checksums`)."""
        return self._replica_set.ask("checksums", author, timeout_s=self._config.guard.publish_timeout_s)

    def kv_usage(self) -> dict[str, float]:
        """The largest share of its KV cache that each kind of engine has used since this was last asked, in any replica."""
        told = self._replica_set.ask("kv_usage", timeout_s=self._config.guard.publish_timeout_s, everyone=False)
        return {name: max(each[name] for each in told) for name in (told[0] if told else ())}

    def start_profile(self) -> None:
        """See `tandem.runtime.trace.Profiled`."""
        self._replica_set.ask("start_profile", timeout_s=self._config.guard.publish_timeout_s)

    def stop_profile(self) -> list[Row]:
        """See `tandem.runtime.trace.Profiled`; of a rollout actor it tells whose turn it was in each rollout."""
        told = self._replica_set.ask("stop_profile", timeout_s=self._config.guard.publish_timeout_s)
        return [replace(row, name=f"rollout actor {actor}{row.name}") for actor, rows in enumerate(told) for row in rows]

    def processes(self) -> dict[str, psutil.Process]:
        """Rollout actors and engines on this host, by name."""
        return self._replica_set.processes()

    def close(self) -> None:
        """Ends the replicas and their engines, whatever state they are in."""
        self._replica_set.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()
