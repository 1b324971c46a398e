"""The restart of a replica that died: another actor, with the latest weights."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, NamedTuple

import ray
from ray.exceptions import GetTimeoutError, RayError

from actors.replica import Member, ReplicaState, RolloutError
from tandem.runtime.processes import end, on_this_host
from tandem.runtime.restarts import RestartBudget
from tandem.runtime.weights import PublishedWeights


class Limit(NamedTuple):
    """The longest wait for an answer."""

    seconds: float
    key: str = ""
    """the setting that says so; empty: a constant"""

    def __str__(self) -> str:
        return f"{self.key}={self.seconds:g}" if self.key else f"{self.seconds:g} s"


START_LIMIT = Limit(600.0)
"""Engines compile on their first start."""


class ReplicaClosed(Exception):
    """The replica was closed while it restarted."""


class LatestWeights:
    """The weights of the latest sync, which restarting replicas load between two syncs. `changed` guards them."""

    def __init__(self, changed: threading.Condition) -> None:
        self._changed = changed
        self._weights: PublishedWeights | None = None
        self._syncing = False
        """whether the learner is overwriting the weights"""
        self._loading = 0
        """restarting replicas that are loading the weights"""

    def begin_sync(self) -> None:
        """Wait until no restarting replica loads the weights, and let none load them until `finish_sync`."""
        with self._changed:
            while self._loading:
                self._changed.wait()
            self._syncing = True

    def finish_sync(self, weights: PublishedWeights) -> None:
        """Let restarting replicas load `weights`."""
        with self._changed:
            self._weights, self._syncing = weights, False
            self._changed.notify_all()

    @contextmanager
    def loading(self, member: Member) -> Iterator[PublishedWeights | None]:
        """Yield the weights for `member`, None before the first sync. The learner does not overwrite them in the block.

        Raises `ReplicaClosed`.
        """
        with self._changed:
            while self._syncing and member.state is not ReplicaState.CLOSED:
                self._changed.wait()
            check_open(member)
            self._loading += 1
            weights = self._weights
        try:
            yield weights
        finally:
            with self._changed:
                self._loading -= 1
                self._changed.notify_all()

    def is_current(self, weights: PublishedWeights | None) -> bool:
        """Whether `weights` are the latest and the learner is not overwriting them."""
        return weights is self._weights and not self._syncing


class Restarter:
    """Restart replicas as often as `budget` allows, `at_once` or one after the other.

    `changed` guards the replicas' states. A replica loads weights within `limit`.
    """

    def __init__(
        self, budget: RestartBudget, weights: LatestWeights, changed: threading.Condition, limit: Limit, *, at_once: bool
    ) -> None:
        self._budget, self._weights, self._changed, self._limit = budget, weights, changed, limit
        self._starting: AbstractContextManager[Any] = nullcontext() if at_once else threading.Lock()

    def restart(self, member: Member, error: RayError) -> None:
        """Restart `member`, which died of `error`, until it runs; it may die again meanwhile.

        Raises `ReplicaClosed`, `GuardError` when it dies too often, and `RolloutError` when it is late or has wrong weights.
        """
        while not member.running:
            self._budget.spend(member.name, error)
            try:
                self._replace_actor(member)
                self._load_latest_weights(member)
            except RayError as again:  # a death, since the same specs have started before
                error = again
                check_open(member)

    def _replace_actor(self, member: Member) -> None:
        with self._starting:
            with self._changed:
                check_open(member)
                member.replica.kill()
            end(member.processes.values())  # on a GPU, the new engines need the memory of the old
            with self._changed:
                check_open(member)
                member.replica.recreate()
            member.admitted = _call(member, "start", limit=START_LIMIT)
            member.processes = on_this_host(_call(member, "processes", limit=START_LIMIT))

    def _load_latest_weights(self, member: Member) -> None:
        while not member.running:
            with self._weights.loading(member) as weights:
                version = weights and _call(member, "receive_weights", weights, limit=self._limit)
            if weights and version != weights.version:
                raise RolloutError(f"{member.name} was restarted and reports version {version}, not {weights.version}")
            with self._changed:
                check_open(member)
                if self._weights.is_current(weights):
                    member.state = ReplicaState.RUNNING


def check_open(member: Member) -> None:
    """Raise `ReplicaClosed` if `member` was closed."""
    if member.state is ReplicaState.CLOSED:
        raise ReplicaClosed


def _call(member: Member, method: str, *arguments: Any, limit: Limit) -> Any:
    try:
        return ray.get(member.replica.call(method, *arguments), timeout=limit.seconds)
    except GetTimeoutError as error:
        raise RolloutError(f"{member.name} was restarted and did not finish {method!r} within {limit}") from error
