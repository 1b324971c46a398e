"""The reward actor, which judges finished rollouts in worker processes, and the driver's handle of it.

Only texts are sent to it and only judgements back.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psutil
import ray
from ray.actor import ActorHandle
from ray.exceptions import GetTimeoutError

from actors.replica import ACTOR_DIED
from tandem.config.reward import JudgeConfig
from tandem.config.schema import Config
from tandem.guards import VerdictGuard
from tandem.rollout import Group
from tandem.runtime.errors import RunError
from tandem.runtime.processes import ProcessLocation, on_this_host, process_location
from tandem.runtime.restarts import RestartBudget
from tandem.runtime.trace import Span, TraceRow
from tandem.verify.pool import Judgement, VerifierPool


class JudgeError(RunError):
    """The reward actor is too slow; the message says how to allow it more time."""


class RewardActor:
    """An actor with a `VerifierPool` of the verifier at a dotted path. The pool's workers end with the actor, however it ends.

    Raises `ValueError` when `config` holds a limit or an answer pattern that cannot be used.
    """

    def __init__(self, config: JudgeConfig, verifier: str = "") -> None:
        workers = config.workers or len(os.sched_getaffinity(0))
        self._pool = VerifierPool(workers, config.timeout_s, config.memory_gib, config.answer_pattern, verifier)
        self._spans: list[Span] | None = None
        """of judgements while profiling; None otherwise"""

    def grade(self, items: Sequence[tuple[str, str]]) -> list[Judgement]:
        """Return the judgements of (gold answer, response) pairs in order (see `VerifierPool.grade`)."""
        start_s = time.time()
        judgements = self._pool.grade(items)
        if self._spans is not None:
            self._spans.append(Span(f"judge {len(items)} answers", "answers", start_s, time.time()))
        return judgements

    def start_profile(self) -> None:
        """Start to record when the actor judges."""
        self._spans = []

    def stop_profile(self) -> list[Span]:
        """Stop recording; return a span for each call of `grade`."""
        spans, self._spans = self._spans or [], None
        return spans

    def processes(self) -> dict[str, ProcessLocation]:
        """Return where this actor runs; its workers are its children."""
        return {"reward actor": process_location()}

    def close(self) -> None:
        """End the worker processes."""
        self._pool.close()


@dataclass(eq=False)
class _Call:
    """Groups whose responses an actor judges."""

    groups: list[Group]
    actor: ActorHandle
    answer: ray.ObjectRef

    @property
    def finished(self) -> bool:
        """Whether the actor has judged them, or died."""
        return bool(ray.wait([self.answer], timeout=0)[0])


class Judge:
    """The driver's handle of the reward actor, which it restarts as often as `budget` allows.

    `begin` collects groups while the actor handles a call, and sends them together in the next call. An answer that takes long
    delays only the answers of its own call.
    """

    def __init__(self, config: Config, budget: RestartBudget) -> None:
        self._config, self._budget = config, budget
        self._lock = threading.Lock()
        """guards the two lists and the actor"""
        self._waiting: list[Group] = []
        self._calls: list[_Call] = []
        self._verdicts = VerdictGuard()
        self._start()

    def _start(self) -> None:
        actor: Any = ray.remote(num_cpus=0)(RewardActor)
        self._actor: ActorHandle = actor.remote(self._config.judge, self._config.data.verifier)
        self._location = self._actor.processes.remote()

    def start_profile(self) -> None:
        """Start profiling (see `tandem.runtime.trace.Profiled`)."""
        ray.get(self._actor.start_profile.remote())

    def stop_profile(self) -> list[TraceRow]:
        """Stop profiling and return the actor's row."""
        return [TraceRow("reward actor", ray.get(self._actor.stop_profile.remote()))]

    def begin(self, group: Group) -> None:
        """Have `group` judged while others are being written. Any thread may call this."""
        with self._lock:
            self._waiting.append(group)
            if all(call.finished for call in self._calls):
                self._send()

    def judge_groups(self, groups: Sequence[Group], timeout_s: float) -> None:
        """Set the judgements of all rollouts of `groups`; when the actor dies, repeat its calls.

        Raises `JudgeError` after `timeout_s` seconds, restarts included, and `GuardError` when the actor dies too often or the
        verifier is broken.
        """
        deadline = time.monotonic() + timeout_s
        requested = {id(group) for group in groups}
        with self._lock:
            begun = {id(group) for call in self._calls for group in call.groups} | set(map(id, self._waiting))
            self._waiting += [group for group in groups if not group.judgements and id(group) not in begun]
            self._send()
            # Also finished calls whose groups were dropped.
            calls = [call for call in self._calls if not requested.isdisjoint(map(id, call.groups)) or call.finished]
        for call in calls:
            judgements = iter(self._answer(call, deadline, timeout_s))
            for group in call.groups:
                group.judgements = [next(judgements) for _ in group.rollouts]
            with self._lock:
                self._calls.remove(call)
        self._verdicts.check(groups)

    def _send(self) -> None:
        """Send the groups that wait to the actor."""
        if self._waiting:
            self._calls.append(_Call(self._waiting, self._actor, self._grade(self._waiting)))
            self._waiting = []

    def _grade(self, groups: Sequence[Group]) -> ray.ObjectRef:
        items = [(group.prompt.problem.answer, response) for group in groups for response in group.responses]
        return self._actor.grade.remote(items)

    def _answer(self, call: _Call, deadline: float, timeout_s: float) -> list[Judgement]:
        while True:
            try:
                judgements = ray.get(call.answer, timeout=max(0.0, deadline - time.monotonic()))
                self._budget.worked("reward actor")
                return judgements
            except GetTimeoutError as error:
                answers = sum(len(group.rollouts) for group in call.groups)
                raise JudgeError(
                    f"the reward actor did not judge {answers} answers within judge.step_timeout_s={timeout_s:g}; raise it"
                ) from error
            except ACTOR_DIED as error:
                with self._lock:
                    if call.actor is self._actor:  # another call may have found it dead before
                        self._budget.spend("reward actor", error)
                        self._start()
                    call.actor, call.answer = self._actor, self._grade(call.groups)

    def processes(self) -> dict[str, psutil.Process]:
        """Return the actor's process by name; empty until it has started."""
        started, _ = ray.wait([self._location], timeout=0)
        try:
            return on_this_host(ray.get(started[0])) if started else {}
        except ACTOR_DIED:
            return {}

    def close(self) -> None:
        """End the actor and its workers."""
        ray.kill(self._actor)
