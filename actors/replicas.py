"""Supervision of the rollout actors: calling them, noticing that one died, and bringing it back with the present weights."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import psutil
import ray
from ray.actor import ActorHandle
from ray.exceptions import GetTimeoutError, RayActorError, RayError, RayTaskError

from actors.replica import ActorReplica, Replica
from tandem.cogeneration import AuthorFailed
from tandem.errors import RunError
from tandem.runtime.processes import end, on_this_host
from tandem.runtime.restarts import RestartBudget
from tandem.runtime.weights import PublishedWeights

START_TIMEOUT_S = 600.0
"""Engines compile on their first start."""
WORK = "write_group"
"""The method whose answer shows that an actor can do its work."""
CLOSE_TIMEOUT_S = 10.0
"""How long engines may take to end before they are killed."""


class RolloutError(RunError):
    """A rollout actor failed; the message names it."""


class ReplicaFailed(RuntimeError):
    """A rollout actor or an engine of it has died and is being started again: what it was doing is to be done again."""


class _Closed(Exception):
    """The run is over; nobody needs the actor that was coming back."""


@dataclass(frozen=True)
class Call:
    """A call of one replica."""

    replica: int
    life: int
    """which of the replica's actors was called"""
    method: str
    answer: ray.ObjectRef


class ReplicaSet:
    """The replicas of a pool, started all at once or one after the other, and each started again when it is lost.

    A replica is lost when its actor or an engine of it has died. It comes back in a thread of its own and receives the last
    published weights before it is up; meanwhile the others work. The constructor raises `RolloutError` when one does not start:
    then nothing is lost. Any thread may call the methods.
    """

    def __init__(self, replicas: Sequence[Replica], budget: RestartBudget, publish_timeout_s: float, *, at_once: bool) -> None:
        self._replicas, self._budget, self._publish_timeout_s = replicas, budget, publish_timeout_s
        self.up = [True for _ in replicas]
        """whether each replica can be called"""
        self.admitted = [0 for _ in replicas]
        """rollouts that each replica writes at a time"""
        self._lives = [0 for _ in replicas]
        self._processes: list[dict[str, psutil.Process]] = [{} for _ in replicas]
        self._changed = threading.Condition()
        """guards the state; notified when a replica is up, has its weights or cannot come back"""
        self._starting = threading.Semaphore(len(replicas) if at_once else 1)
        self._wakers: list[Callable[[], None]] = []
        self._published: PublishedWeights | None = None
        self._expected = False
        """whether the learner is writing another version over the last"""
        self._loading = 0
        """replicas that read the last version as they come back"""
        self._failure: BaseException | None = None
        self._closed = False
        everyone = range(len(replicas))
        try:
            for batch in [everyone] if at_once else [range(i, i + 1) for i in everyone]:
                self.admitted[batch.start : batch.stop] = self._start(batch)
        except BaseException:
            self.close()
            raise

    def _start(self, batch: Sequence[int]) -> list[int]:
        calls = [self.call(replica, "start") for replica in batch]
        self._in_time(calls, START_TIMEOUT_S)
        admitted = []
        for call in calls:
            try:
                admitted.append(ray.get(call.answer))
            except RayError as error:
                raise self._failed(call, error) from error
            told = self._replicas[call.replica].call("processes")
            self._processes[call.replica] = on_this_host(ray.get(told, timeout=START_TIMEOUT_S))
        return admitted

    @property
    def actors(self) -> list[ActorHandle]:
        """The present actors of those replicas that are actors."""
        return [replica.actor for replica in self._replicas if isinstance(replica, ActorReplica)]

    @property
    def capacities(self) -> list[int]:
        """The rollouts that each replica writes at a time, 0 for one that is not running."""
        return [admitted if up else 0 for admitted, up in zip(self.admitted, self.up, strict=True)]

    # Calls

    def call(self, replica: int, method: str, *arguments: Any) -> Call:
        """Calls `method` of a replica and returns at once. Raises `ReplicaFailed` when it is not up."""
        with self._changed:  # it must not be renewed between the look and the call
            if not self.up[replica]:
                raise ReplicaFailed(f"rollout actor {replica} is being started again")
            return Call(replica, self._lives[replica], method, self._replicas[replica].call(method, *arguments))

    def answer(self, call: Call, get: Callable[[], Any]) -> Any:
        """What `get` returns of the call's answer.

        Raises `ReplicaFailed` when the replica died, which is then started again, and `RolloutError` when the call failed.
        """
        try:
            answer = get()
        except RayError as error:
            if not _means_death(error):
                raise self._failed(call, error) from error
            self._lost(call, error)
            raise ReplicaFailed(str(error)) from error
        if call.method == WORK:
            self._budget.worked(f"rollout actor {call.replica}")
        return answer

    def ask(self, method: str, *arguments: Any, timeout_s: float, everyone: bool = True) -> list[Any]:
        """The replicas' answers to a call of `method`, in their order: again from those that are lost meanwhile, once they are
        back; or with `everyone` false only from those that are up and stay so.

        Raises as `answer` does, and `TimeoutError` when a replica takes longer than `timeout_s`.
        """
        answers: dict[int, Any] = {}
        asked: set[int] = set()
        while on := self._next(set(range(len(self._replicas))) - (answers.keys() if everyone else asked), wait=everyone):
            asked.update(on)
            calls = []
            for replica in on:
                try:
                    calls.append(self.call(replica, method, *arguments))
                except ReplicaFailed:
                    continue
            self._in_time(calls, timeout_s)
            for call in calls:
                try:
                    answers[call.replica] = self.answer(call, partial(ray.get, call.answer))
                except ReplicaFailed:
                    continue
        return [answers[replica] for replica in sorted(answers)]

    def await_all(self) -> None:
        """Waits until no replica is being started again. Raises why one cannot come back, if one cannot."""
        with self._changed:
            while not all(self.up):
                self.check()
                self._changed.wait()

    def _next(self, wanted: set[int], *, wait: bool) -> list[int]:
        """Those of `wanted` that are up; waits until there is one if any is wanted. Coming back has deadlines of its own."""
        with self._changed:
            while True:
                self.check()
                on = [replica for replica in sorted(wanted) if self.up[replica]]
                if on or not wanted or not wait:
                    return on
                self._changed.wait()

    def _in_time(self, calls: Sequence[Call], timeout_s: float) -> None:
        answers = [call.answer for call in calls]
        _, late = ray.wait(answers, num_returns=len(answers), timeout=timeout_s) if answers else ([], [])
        if late:
            named = [call.replica for call in calls if call.answer in late]
            raise TimeoutError(
                f"rollout actor(s) {named} of {len(self._replicas)} did not finish {calls[0].method!r} within {timeout_s:g} s"
            )

    def _failed(self, call: Call, error: RayError) -> RolloutError:
        return RolloutError(f"rollout actor {call.replica} of {len(self._replicas)} failed in {call.method!r}: {error}")

    # Weights

    def begin_weight_sync(self) -> None:
        """The learner is about to write another version over the last one: nobody reads that any more when this returns."""
        with self._changed:
            while self._loading:
                self._changed.wait()
            self._expected = True

    def publish(self, published: PublishedWeights) -> list[int]:
        """Has the replicas that are up load `published`, and later all that come back; the versions the former then report."""
        with self._changed:
            self._published, self._expected = published, False
            self._changed.notify_all()
        return self.ask("receive_weights", published, timeout_s=self._publish_timeout_s, everyone=False)

    # Losses

    def check(self) -> None:
        """Raises why a replica cannot come back, if one cannot."""
        if self._failure is not None:
            raise self._failure

    @contextmanager
    def waking(self, wake: Callable[[], None]) -> Iterator[None]:
        """Within the block, `wake` is called whenever a replica has come back or cannot."""
        self._wakers.append(wake)
        try:
            yield
        finally:
            self._wakers.remove(wake)

    def processes(self) -> dict[str, psutil.Process]:
        """Actors and engines on this host, as they were last started, by name."""
        return {
            f"rollout actor {replica}{name}": process
            for replica, processes in enumerate(self._processes)
            for name, process in processes.items()
        }

    def _lost(self, call: Call, error: RayError) -> None:
        """Brings the replica back, unless that is under way: all its calls fail when it dies."""
        with self._changed:
            if self._closed or self._lives[call.replica] != call.life:
                return
            self.up[call.replica] = False
            self._lives[call.replica] += 1
            arguments = (call.replica, error)
            threading.Thread(target=self._revive, args=arguments, name=f"revive-{call.replica}", daemon=True).start()

    def _revive(self, replica: int, error: RayError) -> None:
        """Brings the replica back, as often as it is lost again meanwhile and the budget allows."""
        lost: RayError | None = error
        try:
            while lost is not None:
                self._budget.spend(f"rollout actor {replica}", lost)
                lost = None
                try:
                    self._bring_back(replica)
                except RayError as again:  # whatever it is: with the same specs it has started before
                    lost = again
                    self._unless_closed()
        except _Closed:
            return
        except BaseException as failure:  # noqa: BLE001  it is raised in the threads that wait for the replica
            self._failure = failure
        with self._changed:
            self._changed.notify_all()
        for wake in [*self._wakers]:
            wake()

    def _bring_back(self, replica: int) -> None:
        """Renews the replica's actor, starts it and gives it the last published weights. Raises `RayError` if it dies again."""
        member = self._replicas[replica]

        def get(method: str, *arguments: Any, timeout_s: float) -> Any:
            try:
                return ray.get(member.call(method, *arguments), timeout=timeout_s)
            except GetTimeoutError as error:
                late = f"rollout actor {replica}, started again, did not finish {method!r} within {timeout_s:g} s"
                raise TimeoutError(late) from error

        with self._starting:
            with self._changed:
                self._unless_closed()
                member.kill()
            end(self._processes[replica].values())  # on a GPU, the new engines need the memory of the old
            with self._changed:
                self._unless_closed()
                member.renew()
            self.admitted[replica] = get("start", timeout_s=START_TIMEOUT_S)
            self._processes[replica] = on_this_host(get("processes", timeout_s=START_TIMEOUT_S))
        while True:
            with self._changed:
                while self._expected and not self._closed:
                    self._changed.wait()
                self._unless_closed()
                published = self._published
                self._loading += 1
            try:
                reported = published and get("receive_weights", published, timeout_s=self._publish_timeout_s)
            finally:
                with self._changed:
                    self._loading -= 1
                    self._changed.notify_all()
            if published and reported != published.version:
                raise RolloutError(
                    f"rollout actor {replica}, started again, reports version {reported}, not {published.version}"
                )
            with self._changed:
                if published is self._published and not self._expected:
                    self.up[replica] = True
                    return

    def _unless_closed(self) -> None:
        if self._closed:
            raise _Closed

    def close(self) -> None:
        """Ends the replicas and their engines, whatever state they are in."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        # Engines that end by themselves tidy up after themselves; the others are killed.
        farewells = [replica.call("close") for replica, up in zip(self._replicas, self.up, strict=True) if up]
        ray.wait(farewells, num_returns=len(farewells), timeout=CLOSE_TIMEOUT_S) if farewells else None
        for replica in self._replicas:
            replica.kill()


def _means_death(error: RayError) -> bool:
    """Whether an actor, or an engine of it, is gone: another may do what it was doing."""
    cause = error.cause if isinstance(error, RayTaskError) else error
    return isinstance(cause, RayActorError | AuthorFailed)
