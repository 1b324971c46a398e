"""The reward actor, which judges finished rollouts in worker processes, and the driver's handle of it.

Only texts are sent to it and only judgements back.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import psutil
import ray
from ray.actor import ActorHandle
from ray.exceptions import GetTimeoutError, RayActorError

from tandem.config.reward import JudgeConfig
from tandem.rollout import Group
from tandem.runtime.processes import ProcessLocation, on_this_host, process_location
from tandem.runtime.restarts import RestartBudget
from tandem.runtime.trace import Row, Span
from tandem.verify.pool import Judgement, VerifierPool


class RewardActor:
    """An actor with a `VerifierPool` of the verifier at a dotted path. The pool's workers end with the actor, however it ends.

    Raises `ValueError` when `config` holds a limit or an answer pattern that cannot be used.
    """

    def __init__(self, config: JudgeConfig, verifier: str = "") -> None:
        self._pool = VerifierPool(config.workers, config.timeout_s, config.memory_gib, config.answer_pattern, verifier)
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


class Judge:
    """The driver's handle of the reward actor, which it restarts as often as `budget` allows."""

    def __init__(self, config: JudgeConfig, budget: RestartBudget, verifier: str = "") -> None:
        self._config, self._verifier, self._budget = config, verifier, budget
        self._start()

    def _start(self) -> None:
        actor: Any = ray.remote(num_cpus=0)(RewardActor)
        self._actor: ActorHandle = actor.remote(self._config, self._verifier)
        self._location = self._actor.processes.remote()

    def start_profile(self) -> None:
        """Start profiling (see `tandem.runtime.trace.Profiled`)."""
        ray.get(self._actor.start_profile.remote())

    def stop_profile(self) -> list[Row]:
        """Stop profiling and return the actor's row."""
        return [Row("reward actor", ray.get(self._actor.stop_profile.remote()))]

    def grade(self, items: Sequence[tuple[str, str]], timeout_s: float) -> list[Judgement]:
        """Return the judgements of `items` (see `RewardActor.grade`); judge all of them again when the actor dies.

        Raises `TimeoutError` after `timeout_s` seconds, restarts included, and `GuardError` when the actor dies too often.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                judgements = ray.get(self._actor.grade.remote(items), timeout=max(0.0, deadline - time.monotonic()))
                self._budget.worked("reward actor")
                return judgements
            except GetTimeoutError as error:
                raise TimeoutError(f"the reward actor did not judge {len(items)} answers within {timeout_s:g} s") from error
            except RayActorError as error:
                self._budget.spend("reward actor", error)
                self._start()

    def processes(self) -> dict[str, psutil.Process]:
        """Return the actor's process by name; empty until it has started."""
        started, _ = ray.wait([self._location], timeout=0)
        try:
            return on_this_host(ray.get(started[0])) if started else {}
        except RayActorError:
            return {}

    def close(self) -> None:
        """End the actor and its workers."""
        ray.kill(self._actor)


def judge_groups(judge: Judge, groups: Sequence[Group], timeout_s: float) -> None:
    """Judge every group's responses and set the group's judgements.

    Raises what `Judge.grade` raises.
    """
    items = [(group.prompt.problem.answer, response) for group in groups for response in group.responses]
    judgements = iter(judge.grade(items, timeout_s))
    for group in groups:
        group.judgements = [next(judgements) for _ in group.rollouts]
