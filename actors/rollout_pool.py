"""The rollout actors as the driver sees them: one object, however many replicas."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import TracebackType
from typing import Self

import psutil
import ray
from ray.actor import ActorHandle
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from actors.admission import KVUse
from actors.dispatch import TaskQueue
from actors.engine_layout import Cores, engine_specs, reseeded
from actors.engine_spec import EngineSpec
from actors.group_task import GroupTask
from actors.replica import ActorReplica, RolloutError
from actors.replicas import ReplicaSet
from actors.rollout import RolloutActor
from actors.streaming_pool import StreamingPool
from actors.write_loop import WriteLoop
from tandem.authors import Authors
from tandem.config.black_box import black_box
from tandem.config.learner import LoraConfig
from tandem.config.rollout import SamplingConfig
from tandem.config.schema import Config
from tandem.rollout import BASE_VERSION, Group, Prompt
from tandem.runtime.restarts import RestartBudget
from tandem.runtime.trace import TraceRow
from tandem.runtime.weights import SHM, PublishedWeights
from tandem.schedule import STEP_ENDS, Schedule

MAX_CONCURRENT_CALLS = 10_000
"""Calls that an actor accepts at a time; it admits rollouts by itself."""


class RolloutPool:
    """The replicas of a set as writers of groups; a context manager that ends them.

    `junior_weights` are the relative frequencies of the juniors. With `sleeps` the engines free their GPU's memory while the
    learner learns (`sleep`). If `borrowed`, the senior's engines may hold weights of another run. Every method that waits for
    replicas raises `RolloutError`, which names it, when one fails or is late, and `GuardError` when they die too often.
    """

    def __init__(
        self,
        config: Config,
        replica_set: ReplicaSet,
        *,
        junior_weights: tuple[float, ...] = (1.0,),
        sleeps: bool = False,
        borrowed: bool = False,
    ) -> None:
        self._config, self._replica_set, self._junior_weights = config, replica_set, junior_weights
        self.sleeps, self.borrowed, self._asleep = sleeps, borrowed, False

    @classmethod
    def of_engines(
        cls,
        config: Config,
        authors: Authors,
        budget: RestartBudget,
        *,
        gpus_per_replica: float = 0.0,
        first_version: int = BASE_VERSION,
        transport: str = SHM,
        lora: LoraConfig | None = None,
        sleep: bool = False,
        cores: Cores = (),
        placements: Sequence[PlacementGroupSchedulingStrategy] = (),
        streams: bool = False,
        wait: bool = True,
    ) -> RolloutPool:
        """Start `config.rollout.replicas` rollout actors, on `placements` if given, and return their pool.

        Each has `gpus_per_replica` GPUs; with 0 its engines run on the CPU (see `engine_specs` for `cores`). The run continues
        from version `first_version` of the weights, which the senior's engines receive by `transport`; with `lora`, which names
        all its targets, they receive those of its adapter alone. With `streams` engines return each token at once. Without
        `wait` call `await_started` before anything else.
        """
        options = {"num_cpus": 0, "num_gpus": gpus_per_replica, "max_concurrency": MAX_CONCURRENT_CALLS}
        actor, arguments = ray.remote(RolloutActor), tuple[object, ...]()
        if box := black_box(config):
            # Imported here: the client takes a second.
            from actors.black_box import client_settings
            from actors.black_box_actor import BlackBoxActor

            actor, arguments = ray.remote(BlackBoxActor), (box, client_settings(box), STEP_ENDS[config.model.step_boundary])

        def start_replica(specs: Sequence[EngineSpec], placement: PlacementGroupSchedulingStrategy | None) -> ActorReplica:
            def create(generation: int) -> ActorHandle:
                if generation and transport != SHM:
                    raise RolloutError(
                        f"a rollout actor died and cannot be restarted: learner.transport={transport} reaches only the actors "
                        "of the start; resume the run, or set learner.transport=shm, which allows restarts"
                    )
                return actor.options(**options, scheduling_strategy=placement).remote(reseeded(specs, generation), *arguments)

            return ActorReplica(create)

        specs = engine_specs(
            config,
            authors,
            "cuda" if gpus_per_replica else "cpu",
            first_version=first_version,
            transport=transport,
            lora=lora,
            cores=cores,
            own_gpus=gpus_per_replica > 1,
            sleep=sleep,
            streams=streams,
        )
        places = placements or [None] * len(specs)
        replicas = [start_replica(engines, place) for engines, place in zip(specs, places, strict=True)]
        # Engines that share a GPU measure its free memory as they start: one after the other.
        at_once = not 0 < gpus_per_replica < 1
        replica_set = ReplicaSet(replicas, config.guard, budget, at_once=at_once, wait=wait)
        return cls(config, replica_set, junior_weights=authors.junior_weights, sleeps=sleep)

    def await_started(self) -> None:
        """Wait until the engines have started. Raises `RolloutError` when some have not, and ends them all."""
        self._replica_set.await_started()

    @contextmanager
    def borrow(self, config: Config, authors: Authors) -> Iterator[RolloutPool]:
        """Yield a pool of the same replicas for another run, which must sync its weights. Only this pool ends the replicas."""
        weights, sleeps = authors.junior_weights, self.sleeps
        yield RolloutPool(config, self._replica_set, junior_weights=weights, sleeps=sleeps, borrowed=True)

    @property
    def admitted(self) -> list[int]:
        """Return the most rollouts that each replica writes at a time; 0 for one that is not running."""
        return self._replica_set.capacities

    @property
    def actors(self) -> list[ActorHandle]:
        """The replicas' actors, which a learner connects to."""
        return self._replica_set.actors

    def reseed(self, shift: int) -> None:
        """Have the engines sample the noise of new ones whose seeds are larger by `shift`."""
        self._replica_set.call_all("reseed", shift)

    # Rollouts

    def task(self, prompt: Prompt, group_size: int, schedule: Schedule, sampling: SamplingConfig, name: str) -> GroupTask:
        """Return a task for `group_size` rollouts of `prompt`.

        `name`, unique in a run, and the run's seed determine each rollout's id and seed.
        """
        ids = tuple(f"{name}/{k}" for k in range(group_size))
        seeds = tuple(zlib.crc32(f"{self._config.seed}/{rollout_id}".encode()) for rollout_id in ids)
        return GroupTask(prompt, ids, seeds, schedule, sampling, self._junior_weights)

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
        """Write the groups of `queue`; yield `(index, group)` as each finishes.

        Groups that are unfinished `deadline_s` seconds after the call are cancelled and dropped (0: never). Raises
        `RolloutError` when no group finishes within `rollout.timeout_s`. Tasks are dispatched between two groups: iterate
        without delay, and to the end.
        """
        timeout_s = self._config.rollout.timeout_s
        return WriteLoop(self._replica_set, queue, deadline_s=deadline_s or math.inf, timeout_s=timeout_s).run()

    def streaming(self) -> StreamingPool:
        """Return the pool's replicas as writers of single rollouts, whose tokens arrive while they are written."""
        return StreamingPool(self._replica_set)

    # Weights

    def begin_weight_sync(self) -> None:
        """Allow the learner to overwrite the latest weights: no restarting replica reads them until `finish_weight_sync`."""
        self._replica_set.begin_weight_sync()

    def finish_weight_sync(self, weights: PublishedWeights) -> list[int]:
        """Load published weights in every senior engine; return the version that each then reports. Wakes sleeping engines.

        Replicas that are restarting are left out; they load the weights before they run.
        """
        versions = self._replica_set.finish_weight_sync(weights)
        self._asleep = False
        return versions

    def sleep(self) -> None:
        """Free the GPU memory of all engines until `finish_weight_sync`; no group may be in flight."""
        self._replica_set.await_running()  # an engine measures the free memory while it starts
        self._replica_set.call_all("sleep")
        self._asleep = True

    @contextmanager
    def sleeping(self) -> Iterator[None]:
        """Have engines that may sleep do so in the block, and then wake those that slept only for it."""
        if not self.sleeps or self._asleep:
            yield
            return
        self.sleep()
        yield
        self._replica_set.call_all("wake")
        self._asleep = False

    def checksums(self, author: int) -> list[list[str]]:
        """Return checksums of the weights of `author`'s engines, by replica (see `RolloutActor.checksums`)."""
        return self._replica_set.call_all("checksums", author)

    def text_logprobs(self, texts: Sequence[Sequence[int]]) -> list[list[float]]:
        """Return log-probabilities of `texts` by the senior's engines that are running (see `RolloutActor.text_logprobs`)."""
        return self._replica_set.call_running("text_logprobs", texts)

    # State

    def kv_use(self) -> dict[str, KVUse]:
        """Return the use of the KV caches since the last call for each kind of engine: of all replicas, the largest share and
        the sum of preemptions.
        """
        uses: list[dict[str, KVUse]] = self._replica_set.call_running("kv_use")
        by_engine = {name: [use[name] for use in uses] for name in (uses[0] if uses else ())}
        return {
            name: KVUse(max(use.peak for use in of_engine), sum(use.preemptions for use in of_engine))
            for name, of_engine in by_engine.items()
        }

    def start_profile(self) -> None:
        """Start profiling (see `tandem.runtime.trace.Profiled`)."""
        self._replica_set.call_all("start_profile")

    def stop_profile(self) -> list[TraceRow]:
        """Stop profiling and return rows with each rollout's turns and each engine's operations."""
        profiles = self._replica_set.call_all("stop_profile")
        return [replace(row, name=f"rollout actor {index}{row.name}") for index, rows in enumerate(profiles) for row in rows]

    def processes(self) -> dict[str, psutil.Process]:
        """Return rollout actors and engines on this host, by name."""
        return self._replica_set.processes()

    def close(self) -> None:
        """End the replicas and their engines, whatever their state."""
        self._replica_set.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()
