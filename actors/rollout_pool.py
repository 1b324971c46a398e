"""The rollout actors as the driver sees them: one object, however many replicas."""

from __future__ import annotations

import math
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from queue import Empty
from types import TracebackType
from typing import Any, Self

import ray
from ray.actor import ActorHandle
from ray.exceptions import RayError

from actors.dispatch import Dispatch
from actors.feed import Feed
from actors.placement import engine_specs
from actors.replica import ActorReplica, Replica
from actors.rollout import GroupTask, RolloutActor
from tandem.authors import Authors
from tandem.config import Config, SamplingConfig
from tandem.rollout import BASE_VERSION, Group, Prompt
from tandem.schedule import Schedule
from tandem.weights import SHM, PublishedWeights

START_TIMEOUT_S = 600.0
"""Engines compile on their first start."""
CANCEL_TIMEOUT_S = 60.0
"""How long a replica may take to give up cancelled groups and free what they hold."""
CLOSE_TIMEOUT_S = 10.0
"""How long engines may take to end before they are killed."""
CONCURRENT_GROUPS = 10_000
"""Calls that an actor accepts at a time; admission is its own business."""


class RolloutError(RuntimeError):
    """A rollout actor failed or died; the message names it."""


@dataclass(frozen=True)
class InFlight:
    """The group of one prompt, which a replica is writing."""

    index: int
    replica: int
    answer: ray.ObjectRef


class RolloutPool:
    """Starts `replicas` and spreads groups over them; a context manager that ends them.

    They start all at once, or with `at_once` false one after the other. `junior_weights` say how often each junior is drawn.
    Every method that waits for replicas raises `RolloutError` when one fails and `TimeoutError` when one is late; both name it.
    """

    def __init__(
        self, config: Config, replicas: Sequence[Replica], *, junior_weights: tuple[float, ...] = (1.0,), at_once: bool = True
    ) -> None:
        self._config, self._replicas, self._junior_weights = config, replicas, junior_weights
        everyone = range(len(replicas))
        try:
            batches = [everyone] if at_once else [range(i, i + 1) for i in everyone]
            self.admitted: list[int] = [
                admitted for batch in batches for admitted in self._call("start", on=batch, timeout_s=START_TIMEOUT_S)
            ]
            """rollouts that each replica writes at a time"""
        except BaseException:
            self.close()
            raise

    @classmethod
    def of_engines(
        cls,
        config: Config,
        authors: Authors,
        *,
        gpus_per_replica: float = 0.0,
        first_version: int = BASE_VERSION,
        transport: str = SHM,
    ) -> RolloutPool:
        """`config.rollout.replicas` rollout actors with `gpus_per_replica` GPUs each (0: their engines run on the CPU, bound to
        cores of their own as far as there are any), for a run that goes on from version `first_version` of the weights. Those
        of the seniors come by `transport`.
        """
        device = "cuda" if gpus_per_replica else "cpu"
        actor = ray.remote(RolloutActor).options(num_cpus=0, num_gpus=gpus_per_replica, max_concurrency=CONCURRENT_GROUPS)
        specs = engine_specs(config, authors, device, first_version=first_version, transport=transport)
        replicas = [ActorReplica(actor.remote(each)) for each in specs]
        # Engines that share a GPU measure its free memory as they start: one after the other.
        return cls(config, replicas, junior_weights=authors.junior_weights, at_once=not 0 < gpus_per_replica < 1)

    def generate(
        self,
        prompts: Sequence[Prompt],
        group_size: int,
        schedule: Schedule,
        sampling: SamplingConfig,
        tag: str,
        *,
        deadline_s: float = 0.0,
        on_group: Callable[[Group], None] = lambda group: None,
    ) -> list[Group]:
        """The groups of `stream` in the prompts' order, those missing that it dropped. Calls `on_group` as each finishes."""
        return _in_order(self.stream(prompts, group_size, schedule, sampling, tag, deadline_s=deadline_s), on_group)

    def write_all(self, tasks: Sequence[GroupTask], on_group: Callable[[Group], None] = lambda group: None) -> list[Group]:
        """The groups of `tasks`, in their order; otherwise as `generate`."""
        return _in_order(self.write(_feed(tasks), max(task.sampling.max_tokens for task in tasks)), on_group)

    def stream(
        self,
        prompts: Sequence[Prompt],
        group_size: int,
        schedule: Schedule,
        sampling: SamplingConfig,
        tag: str,
        *,
        deadline_s: float = 0.0,
    ) -> Iterator[tuple[int, Group]]:
        """Writes `group_size` rollouts for each prompt; yields each group as it finishes, after its prompt's index.

        `tag` (a step's name, unique in a run) and the run's seed determine each rollout's id and schedule seed. Groups that are
        unfinished `deadline_s` after the start are cancelled and dropped (0: never). Raises `TimeoutError` when no group
        finishes within `rollout.timeout_s`. Replicas are fed between two groups: take them without delay, and to the end.
        """
        tasks = [self.task(prompt, group_size, schedule, sampling, f"{tag}/{index}") for index, prompt in enumerate(prompts)]
        return self.write(_feed(tasks), sampling.max_tokens, deadline_s=deadline_s)

    def write(self, feed: Feed, max_tokens: int, *, deadline_s: float = 0.0) -> Iterator[tuple[int, Group]]:
        """Writes the groups that `feed` hands out, none longer than `max_tokens`, until it ends; otherwise as `stream`."""
        deadline = time.monotonic() + deadline_s if deadline_s else math.inf
        dispatch = Dispatch(self.admitted, max_tokens)
        in_flight: dict[Future, InFlight] = {}
        while not feed.cancelled:
            left_s = deadline - time.monotonic()
            while left_s > 0 and (replica := dispatch.next_replica()) is not None and (begun := feed.begin()) is not None:
                index, task = begun
                dispatch.give(replica, task)
                answer = self._replicas[replica].call("write_group", task)
                future = answer.future()
                in_flight[future] = InFlight(index, replica, answer)
                # Not ray.wait, whose every call costs time for each group in flight.
                future.add_done_callback(feed.news.put)
            if not in_flight and (feed.ended or left_s <= 0):
                break
            patience_s = self._config.rollout.timeout_s if in_flight else math.inf
            try:
                future = feed.news.get(timeout=None if patience_s == left_s == math.inf else max(0.0, min(left_s, patience_s)))
            except Empty:
                if left_s <= patience_s:
                    break  # the deadline has passed
                raise TimeoutError(
                    f"rollout actor(s) {_named(in_flight.values())} finished none of {len(in_flight)} groups within "
                    f"rollout.timeout_s={self._config.rollout.timeout_s:g}"
                ) from None
            if future is None:
                continue  # woken: the feed may have more
            done = in_flight.pop(future)
            group = self._answer(done.replica, "write_group", future.result)
            dispatch.take_back(done.replica, group)
            yield done.index, group
        self._cancel(list(in_flight.values()))

    def task(self, prompt: Prompt, group_size: int, schedule: Schedule, sampling: SamplingConfig, name: str) -> GroupTask:
        """The group `name` (unique in a run) of `group_size` rollouts for `prompt`; name and the run's seed determine each
        rollout's id and schedule seed."""
        ids = tuple(f"{name}/{k}" for k in range(group_size))
        seeds = tuple(zlib.crc32(f"{self._config.seed}/{rollout_id}".encode()) for rollout_id in ids)
        return GroupTask(prompt, ids, seeds, schedule, sampling, self._junior_weights)

    @property
    def actors(self) -> list[ActorHandle]:
        """The replicas' actors, for a learner to meet."""
        return [replica.actor for replica in self._replicas if isinstance(replica, ActorReplica)]

    def receive_weights(self, published: PublishedWeights) -> list[int]:
        """Has every senior engine take published weights; returns the version that each then reports."""
        return self._all("receive_weights", published, timeout_s=self._config.guard.publish_timeout_s)

    def checksums(self, author: int) -> list[list[str]]:
        """Fingerprints of the weights of `author`'s engines, by replica (see `RolloutActor.checksums`)."""
        return self._all("checksums", author, timeout_s=self._config.guard.publish_timeout_s)

    def close(self) -> None:
        """Ends the replicas and their engines, whatever state they are in."""
        # Engines that end by themselves tidy up after themselves; the others are killed.
        farewells = [replica.call("close") for replica in self._replicas]
        ray.wait(farewells, num_returns=len(farewells), timeout=CLOSE_TIMEOUT_S)
        for replica in self._replicas:
            replica.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    def _cancel(self, groups: Sequence[InFlight]) -> None:
        """Cancels `groups` and waits until nothing of them is left: weights must not change under a rollout."""
        for group in groups:
            ray.cancel(group.answer)
        answers = [group.answer for group in groups]
        _, late = ray.wait(answers, num_returns=len(answers), timeout=CANCEL_TIMEOUT_S) if answers else ([], [])
        if late:
            stuck = [group for group in groups if group.answer in late]
            raise TimeoutError(
                f"rollout actor(s) {_named(stuck)} did not give up {len(late)} cancelled groups within {CANCEL_TIMEOUT_S:g} s"
            )

    def _all(self, method: str, *arguments: Any, timeout_s: float) -> list[Any]:
        return self._call(method, *arguments, on=range(len(self._replicas)), timeout_s=timeout_s)

    def _call(self, method: str, *arguments: Any, on: Sequence[int], timeout_s: float) -> list[Any]:
        """Calls `method` of the replicas `on`; their answers in that order."""
        calls = {self._replicas[replica].call(method, *arguments): replica for replica in on}
        _, late = ray.wait(list(calls), num_returns=len(calls), timeout=timeout_s)
        if late:
            named = [calls[call] for call in late]
            raise TimeoutError(
                f"rollout actor(s) {named} of {len(self._replicas)} did not finish {method!r} within {timeout_s:g} s"
            )
        return [self._answer(replica, method, partial(ray.get, call)) for call, replica in calls.items()]

    def _answer(self, replica: int, method: str, get: Callable[[], Any]) -> Any:
        try:
            return get()
        except RayError as error:
            raise RolloutError(f"rollout actor {replica} of {len(self._replicas)} failed in {method!r}: {error}") from error


def _feed(tasks: Iterable[GroupTask]) -> Feed:
    """Hands out `tasks`, each after its place, and ends."""
    waiting = deque(enumerate(tasks))
    feed = Feed(lambda: waiting.popleft() if waiting else None)
    feed.end()
    return feed


def _in_order(written: Iterable[tuple[int, Group]], on_group: Callable[[Group], None]) -> list[Group]:
    """The groups by their places; calls `on_group` as each comes."""
    groups: dict[int, Group] = {}
    for index, group in written:
        groups[index] = group
        on_group(group)
    return [groups[index] for index in sorted(groups)]


def _named(groups: Iterable[InFlight]) -> list[int]:
    """The replicas that are writing `groups`."""
    return sorted({group.replica for group in groups})
