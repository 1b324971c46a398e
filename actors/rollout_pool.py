"""The rollout actors as the driver sees them: one object, however many replicas."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

import ray

from actors.engine_spec import EngineSpec, pack_boundaries
from actors.rollout import GroupTask, RolloutActor
from tandem.authors import Authors
from tandem.config import Config, SamplingConfig
from tandem.rollout import JUNIOR, SENIOR, Group, Prompt
from tandem.schedule import Schedule
from tandem.schedules import needs_junior
from tandem.weights import PublishedWeights

START_TIMEOUT_S = 600.0
"""Engines compile on their first start."""
CLOSE_TIMEOUT_S = 10.0
"""How long engines may take to end before they are killed."""
CONCURRENT_GROUPS = 10_000
"""Calls that an actor accepts at a time; admission is its own business."""


class RolloutPool:
    """Starts `config.rollout.replicas` rollout actors and spreads groups over them; a context manager.

    `gpus_per_replica` GPUs each (0: their engines run on the CPU, bound to cores of their own as far as there are any).
    """

    def __init__(self, config: Config, authors: Authors, *, gpus_per_replica: float = 0.0) -> None:
        self._config = config
        device = "cuda" if gpus_per_replica else "cpu"
        actor = ray.remote(RolloutActor).options(num_cpus=0, num_gpus=gpus_per_replica, max_concurrency=CONCURRENT_GROUPS)
        self._actors: list[Any] = [actor.remote(specs) for specs in engine_specs(config, authors, device)]
        try:
            # Engines that share a GPU measure its free memory as they start: one after the other.
            batches = [[actor] for actor in self._actors] if 0 < gpus_per_replica < 1 else [self._actors]
            self.admitted = sum(sum(self._call("start", on=batch, timeout_s=START_TIMEOUT_S)) for batch in batches)
            """rollouts in flight, over all replicas"""
        except BaseException:
            self.close()
            raise

    def generate(
        self,
        prompts: Sequence[Prompt],
        group_size: int,
        schedule: Schedule,
        sampling: SamplingConfig,
        tag: str,
        on_group: Callable[[Group], None] = lambda group: None,
    ) -> list[Group]:
        """Writes `group_size` rollouts for each prompt; the groups come back in the prompts' order.

        `tag` (a step's name, unique in a run) and the run's seed determine each rollout's id and schedule seed. `on_group` is
        called as groups finish. Raises `TimeoutError` when no group finishes within `rollout.timeout_s`.
        """
        pending: dict[ray.ObjectRef, tuple[int, int]] = {}
        load = [0] * len(self._actors)
        for index, prompt in enumerate(prompts):
            ids = tuple(f"{tag}/{index}/{k}" for k in range(group_size))
            seeds = tuple(zlib.crc32(f"{self._config.seed}/{rollout_id}".encode()) for rollout_id in ids)
            replica = load.index(min(load))
            load[replica] += 1
            task = GroupTask(prompt, ids, seeds, schedule, sampling.temperature, sampling.max_tokens)
            pending[self._actors[replica].write_group.remote(task)] = (index, replica)
        groups: dict[int, Group] = {}
        while pending:
            ready, _ = ray.wait(list(pending), timeout=self._config.rollout.timeout_s)
            if not ready:
                waiting = sorted({replica for _, replica in pending.values()})
                raise TimeoutError(
                    f"rollout actor(s) {waiting} finished none of {len(pending)} groups within "
                    f"rollout.timeout_s={self._config.rollout.timeout_s:g}"
                )
            index, _ = pending.pop(ready[0])
            groups[index] = ray.get(ready[0])
            on_group(groups[index])
        return [groups[index] for index in range(len(prompts))]

    def receive_weights(self, published: PublishedWeights) -> list[int]:
        """Has every senior engine load published weights; returns the version that each then reports."""
        return self._all("receive_weights", published, timeout_s=self._config.guard.publish_timeout_s)

    def checksums(self, author: int) -> list[str | None]:
        """A fingerprint of `author`'s weights in every replica."""
        return self._all("checksum", author, timeout_s=self._config.guard.publish_timeout_s)

    def close(self) -> None:
        """Ends the actors and their engines, whatever state they are in."""
        # Engines that end by themselves tidy up after themselves; the others are killed.
        farewells = [actor.close.remote() for actor in self._actors]
        ray.wait(farewells, num_returns=len(farewells), timeout=CLOSE_TIMEOUT_S)
        for actor in self._actors:
            ray.kill(actor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    def _all(self, method: str, *arguments: Any, timeout_s: float) -> list[Any]:
        return self._call(method, *arguments, on=self._actors, timeout_s=timeout_s)

    @staticmethod
    def _call(method: str, *arguments: Any, on: Sequence[Any], timeout_s: float) -> list[Any]:
        answers = [getattr(actor, method).remote(*arguments) for actor in on]
        _, late = ray.wait(answers, num_returns=len(answers), timeout=timeout_s)
        if late:
            raise TimeoutError(f"{len(late)} of {len(on)} rollout actors did not finish {method!r} within {timeout_s:g} s")
        return ray.get(answers)


def engine_specs(config: Config, authors: Authors, device: str) -> list[list[EngineSpec]]:
    """For each replica, the engines to start: senior and junior, or the senior alone where no junior ever writes."""
    roles = [SENIOR, JUNIOR] if needs_junior(config) else [SENIOR]
    cores = sorted(os.sched_getaffinity(0))[: config.mode.cpu_cores or None]
    engines = config.rollout.replicas * len(roles)

    def spec(replica: int, author: int) -> EngineSpec:
        index = replica * len(roles) + roles.index(author)
        return EngineSpec(
            author=author,
            model=str(authors.senior if author == SENIOR else authors.junior),
            dtype=config.model.dtype,
            # Self-paired engines must not share their noise, nor replicas theirs.
            seed=config.seed * 1_000 + index,
            max_model_len=authors.context,
            max_num_seqs=config.rollout.max_in_flight,
            sentinel=authors.sentinel,
            eos_ids=authors.eos_ids,
            packed_boundaries=pack_boundaries(authors.boundaries),
            vocabulary=authors.vocabulary,
            device=device,
            cores=share_of_cores(cores, index, engines),
            kv_cache_gib=config.rollout.kv_cache_gib,
            gpu_memory_fraction=config.rollout.gpu_memory_fraction,
            enforce_eager=config.rollout.enforce_eager,
        )

    return [[spec(replica, author) for author in roles] for replica in range(config.rollout.replicas)]


def share_of_cores(cores: Sequence[int], index: int, engines: int) -> tuple[int, ...]:
    """The cores of engine `index` of `engines`: a slice of its own, or one shared core where there are too few."""
    if engines > len(cores):
        return (cores[index % len(cores)],)
    each = len(cores) // engines
    return tuple(cores[index * each : (index + 1) * each])
