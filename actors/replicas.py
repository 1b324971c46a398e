"""The replicas of a pool: start them, call them, restart those that fail, and load weights in all of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import psutil
import ray
from ray.actor import ActorHandle
from ray.exceptions import RayError, RayTaskError

from actors.replica import ACTOR_DIED, ActorReplica, Member, Replica, ReplicaFailed, ReplicaState, RolloutError
from actors.restart import START_LIMIT, LatestWeights, Limit, ReplicaClosed, Restarter
from tandem.cogeneration import AuthorFailed
from tandem.config.run import GuardConfig
from tandem.runtime.processes import on_this_host
from tandem.runtime.restarts import RestartBudget
from tandem.runtime.weights import PublishedWeights

WORK = "write_group"
"""The method whose answer shows that a replica works."""
CLOSE_TIMEOUT_S = 10.0
"""The time that engines have to end before they are killed."""


@dataclass(frozen=True)
class Call:
    """A call of one replica, of its actor `generation`."""

    replica: int
    generation: int
    method: str
    answer: ray.ObjectRef


class ReplicaSet:
    """Replicas that are started together, or one by one without `at_once`, and restarted when they fail.

    Without `wait` the constructor returns before they have started: call `await_started` before anything else. It raises
    `RolloutError` when a replica does not start, and then ends them all.

    A replica fails when its actor or one of its engines dies. A thread restarts it, as often as `budget` allows, and loads the
    latest weights before the replica runs again; the others work meanwhile. Any thread may call the methods.
    """

    def __init__(
        self,
        replicas: Sequence[Replica],
        guard: GuardConfig,
        budget: RestartBudget,
        *,
        at_once: bool = True,
        wait: bool = True,
    ) -> None:
        self._members = [Member(index, replica) for index, replica in enumerate(replicas)]
        self._budget = budget
        self._limit = Limit(guard.call_timeout_s, "guard.call_timeout_s")
        self._changed = threading.Condition()
        """guards states and weights; notified when one of them changes"""
        self._weights = LatestWeights(self._changed)
        self._restarter = Restarter(self._budget, self._weights, self._changed, self._limit, at_once=at_once)
        self._listeners: list[Callable[[], None]] = []
        self._failure: BaseException | None = None
        """why a replica could not be restarted"""
        self._starts = [self._send(member, "start") for member in self._members] if at_once else []
        if wait:
            self.await_started()

    def await_started(self) -> None:
        """Wait until the replicas have started for the first time. Raises as the class says."""
        try:
            if self._starts:
                self._await_starts(self._starts)
                self._starts = []
            for member in self._members:
                if member.state is ReplicaState.STARTING:
                    self._await_starts([self._send(member, "start")])
        except BaseException:
            self.close()
            raise

    def _await_starts(self, calls: Sequence[Call]) -> None:
        self._await_answers(calls, START_LIMIT)
        for call in calls:
            member = self._members[call.replica]
            try:
                member.admitted = ray.get(call.answer)
                processes = ray.get(member.replica.call("processes"), timeout=START_LIMIT.seconds)
            except RayError as error:
                raise self._call_error(call, error) from error
            member.processes = on_this_host(processes)
            member.state = ReplicaState.RUNNING

    @property
    def capacities(self) -> list[int]:
        """The rollouts that each replica writes at a time; 0 for one that is not running."""
        return [member.admitted if member.running else 0 for member in self._members]

    @property
    def actors(self) -> list[ActorHandle]:
        """The Ray actors of the replicas."""
        return [member.replica.actor for member in self._members if isinstance(member.replica, ActorReplica)]

    def processes(self) -> dict[str, psutil.Process]:
        """Return actors and engines on this host by name, as they were last started."""
        return {f"{m.name}{part}": process for m in self._members for part, process in m.processes.items()}

    # Calls

    def call(self, replica: int, method: str, *arguments: Any) -> Call:
        """Call `method` of a replica and return at once. Raises `ReplicaFailed` when the replica is not running."""
        member = self._members[replica]
        with self._changed:  # no restart between check and call
            if not member.running:
                raise ReplicaFailed(f"{member.name} is {member.state.value}")
            return self._send(member, method, *arguments)

    def answer(self, call: Call, get: Callable[[], Any]) -> Any:
        """Return the answer of `call`, which `get` returns.

        Raises `ReplicaFailed` when the replica died, which then restarts, and `RolloutError` when the call failed.
        """
        try:
            answer = get()
        except RayError as error:
            if not _is_death(error):
                raise self._call_error(call, error) from error
            self._restart_after(call, error)
            raise ReplicaFailed(str(error)) from error
        if call.method == WORK:
            self._budget.worked(self._members[call.replica].name)
        return answer

    def call_all(self, method: str, *arguments: Any) -> list[Any]:
        """Return every replica's answer to a call of `method`, in order; wait for replicas that restart.

        Raises `RolloutError`, which names the replica, when a call fails or takes longer than `guard.call_timeout_s`, and
        what `check` raises.
        """
        answers: dict[int, Any] = {}
        while missing := [member for member in self._members if member.index not in answers]:
            answers |= self._answers(self._await_any(missing), method, *arguments)
        return [answers[index] for index in sorted(answers)]

    def call_running(self, method: str, *arguments: Any) -> list[Any]:
        """Return the answers of the replicas that are running and do not fail meanwhile; otherwise as `call_all`."""
        self.check()
        return list(self._answers([member for member in self._members if member.running], method, *arguments).values())

    def check(self) -> None:
        """Raise the error that kept a replica from restarting, if there is one."""
        if self._failure is not None:
            raise self._failure

    def await_running(self) -> None:
        """Wait until all replicas are running. Raises as `check`."""
        for member in self._members:
            self._await_any([member])

    @contextmanager
    def notifying(self, listener: Callable[[], None]) -> Iterator[None]:
        """In the block, call `listener` whenever a restart has succeeded or failed."""
        self._listeners.append(listener)
        try:
            yield
        finally:
            self._listeners.remove(listener)

    def _send(self, member: Member, method: str, *arguments: Any) -> Call:
        return Call(member.index, member.generation, method, member.replica.call(method, *arguments))

    def _answers(self, members: Iterable[Member], method: str, *arguments: Any) -> dict[int, Any]:
        """Return the answers of those of `members` that do not fail, by index."""
        calls: list[Call] = []
        for member in members:
            with suppress(ReplicaFailed):
                calls.append(self.call(member.index, method, *arguments))
        self._await_answers(calls, self._limit)
        answers: dict[int, Any] = {}
        for call in calls:
            with suppress(ReplicaFailed):
                answers[call.replica] = self.answer(call, partial(ray.get, call.answer))
        return answers

    def _await_answers(self, calls: Sequence[Call], limit: Limit) -> None:
        answers = [call.answer for call in calls]
        _, late = ray.wait(answers, num_returns=len(answers), timeout=limit.seconds) if answers else ([], [])
        if late:
            replicas = [call.replica for call in calls if call.answer in late]
            raise RolloutError(
                f"rollout actor(s) {replicas} of {len(self._members)} did not finish {calls[0].method!r} within {limit}"
            )

    def _await_any(self, members: Sequence[Member]) -> list[Member]:
        """Return those of `members` that are running; wait until there is one. Raises as `check`."""
        with self._changed:
            while True:
                self.check()
                if running := [member for member in members if member.running]:
                    return running
                self._changed.wait()  # a restart has its own timeouts

    def _call_error(self, call: Call, error: RayError) -> RolloutError:
        return RolloutError(f"rollout actor {call.replica} of {len(self._members)} failed in {call.method!r}: {error}")

    # Restarts

    def _restart_after(self, call: Call, error: RayError) -> None:
        """Restart the replica of `call` in a thread, unless another failed call has done so."""
        member = self._members[call.replica]
        with self._changed:
            if not member.running or member.generation != call.generation:
                return
            member.state, member.generation = ReplicaState.RESTARTING, member.generation + 1
        threading.Thread(target=self._restart, args=(member, error), name=f"restart-{member.index}", daemon=True).start()

    def _restart(self, member: Member, error: RayError) -> None:
        try:
            self._restarter.restart(member, error)
        except ReplicaClosed:
            return
        except BaseException as failure:  # noqa: BLE001  `check` raises it
            self._failure = failure
            with self._changed:
                if member.state is not ReplicaState.CLOSED:
                    member.state = ReplicaState.FAILED
        with self._changed:
            self._changed.notify_all()
        for listener in [*self._listeners]:
            listener()

    # Weights

    def begin_weight_sync(self) -> None:
        """Allow the learner to overwrite the latest weights: no restarting replica loads them until `finish_weight_sync`."""
        self._weights.begin_sync()

    def finish_weight_sync(self, weights: PublishedWeights) -> list[int]:
        """Load `weights` in the running replicas and in all that restart; return the versions that the former report."""
        self._weights.finish_sync(weights)
        return self.call_running("receive_weights", weights)

    def close(self) -> None:
        """End the replicas and their engines, whatever their state."""
        with self._changed:
            answering = [m for m in self._members if m.state in (ReplicaState.STARTING, ReplicaState.RUNNING)]
            for member in self._members:
                member.state = ReplicaState.CLOSED
            self._changed.notify_all()
        # Engines that end by themselves clean up; the others are killed.
        answers = [member.replica.call("close") for member in answering]
        ray.wait(answers, num_returns=len(answers), timeout=CLOSE_TIMEOUT_S) if answers else None
        for member in self._members:
            member.replica.kill()


def _is_death(error: RayError) -> bool:
    """Whether `error` says that an actor or one of its engines died, so that another can do its work."""
    cause = error.cause if isinstance(error, RayTaskError) else error
    return isinstance(cause, (*ACTOR_DIED, AuthorFailed))
