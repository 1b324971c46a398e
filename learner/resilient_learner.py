"""A learner that survives the death of a rank: new ranks start from the last checkpoint and repeat the updates since then."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import psutil
from ray.actor import ActorHandle

from learner.group import LearnerError, LearnerGroup, RankFailed
from tandem.rollout import Group
from tandem.runtime.restarts import RestartBudget
from tandem.runtime.trace import TraceRow
from tandem.runtime.weights import PublishedWeights

T = TypeVar("T")

KEPT_WITHOUT_CHECKPOINTS = 40
"""Updates that a run without checkpoints can repeat; the same number as with checkpoints by default."""


def updates_kept(save_every: int) -> int:
    """Return how many updates to keep when a checkpoint is written every `save_every` steps (0: never).

    Two intervals, so that a checkpoint that could not be written loses nothing.
    """
    return 2 * save_every or KEPT_WITHOUT_CHECKPOINTS


class ResilientLearner:
    """A `LearnerGroup` that is restarted when a rank dies, as often as `budget` allows. As a context manager it ends the ranks.

    `start` starts a group from the state in a folder, or from the base model if it is None; the first group starts from
    `saved`. After a rank died, a new group loads the last checkpoint and repeats the updates since then with the same groups.
    An update is a function of the state and the groups, so the new state equals the old one. Then the call that failed is
    repeated. The groups of at most `kept` updates stay in memory for this; after more updates without a checkpoint, the death
    of a rank ends the run.
    """

    def __init__(
        self,
        start: Callable[[Path | None], LearnerGroup],
        budget: RestartBudget,
        saved: Path | None = None,
        *,
        kept: int = KEPT_WITHOUT_CHECKPOINTS,
    ) -> None:
        self._start, self._budget, self._saved, self._kept = start, budget, saved, kept
        self._since: list[tuple[Sequence[Group], int]] | None = []
        """groups and step of the updates since `saved`; None: more than `kept`"""
        self._engines: list[ActorHandle] = []
        """the rollout actors that every new group connects to"""
        self._sleeping: Callable[[], AbstractContextManager[None]] = nullcontext
        """a context in which the engines leave their memory to the learner"""
        self._learner = start(saved)

    def connect(
        self, engines: Sequence[ActorHandle], sleeping: Callable[[], AbstractContextManager[None]] = nullcontext
    ) -> None:
        """Connect to the rollout actors `engines`, as every later group does. Updates are repeated inside `sleeping()`."""
        self._with_restarts(lambda learner: learner.connect(engines))
        self._engines, self._sleeping = list(engines), sleeping

    def update(self, groups: Sequence[Group], step: int) -> dict[str, float]:
        """Train on the groups of one step and return its metrics, as `LearnerGroup.update`."""
        update_metrics = self._with_restarts(lambda learner: learner.update(groups, step))
        self._budget.worked("learner")
        if self._since is not None:
            self._since.append((groups, step))
            if len(self._since) > self._kept:
                self._since = None
        return update_metrics

    def publish(self, version: int) -> PublishedWeights:
        """Send the current weights as `version`, as `LearnerGroup.publish`."""
        return self._with_restarts(lambda learner: learner.publish(version))

    def text_logprobs(self, texts: Sequence[Sequence[int]]) -> list[float]:
        """Return the log-probabilities of the tokens of `texts`, as `LearnerGroup.text_logprobs`."""
        return self._with_restarts(lambda learner: learner.text_logprobs(texts))

    def save(self, folder: Path) -> None:
        """Write the state into `folder`, as `LearnerGroup.save`. Restarts use it only after `checkpointed`."""

        def save(learner: LearnerGroup) -> None:
            for partial in folder.iterdir():  # left by a group whose rank died
                shutil.rmtree(partial) if partial.is_dir() else partial.unlink()
            learner.save(folder)

        self._with_restarts(save)

    def checkpointed(self, folder: Path) -> None:
        """Start later groups from `folder`, the complete checkpoint that now holds the state of the last `save`."""
        self._saved, self._since = folder, []

    def export(self, path: Path, *, whole: bool = False) -> None:
        """Write the current weights as a Hugging Face directory, as `LearnerGroup.export`."""
        self._with_restarts(lambda learner: learner.export(path, whole=whole))

    def start_profile(self) -> None:
        """Start profiling every rank."""
        self._with_restarts(lambda learner: learner.start_profile())

    def stop_profile(self) -> list[TraceRow]:
        """Stop profiling and return one row for each rank; rows of ranks that were started since are empty."""
        return self._with_restarts(lambda learner: learner.stop_profile())

    def processes(self) -> dict[str, psutil.Process]:
        """Return the processes of the ranks on this host, by name."""
        return self._learner.processes()

    def _with_restarts(self, work: Callable[[LearnerGroup], T]) -> T:
        """Return the result of `work`, which is repeated with a new group whenever a rank dies."""
        while True:
            try:
                return work(self._learner)
            except RankFailed as failure:
                self._restart(failure)

    def _restart(self, failure: RankFailed) -> None:
        if self._since is None:
            raise LearnerError(
                f"{failure}; it is not started again: more than {self._kept} steps since the last checkpoint would have to be "
                "repeated, and their rollouts are not kept; set checkpoint.save_every, or free space on the disk"
            ) from failure.__cause__  # of two `RunError`s in a chain, the user sees the inner one
        with self._sleeping():
            while True:
                self._budget.spend("learner", failure)
                self._learner.kill()
                try:
                    self._learner = self._start(self._saved)
                    if self._engines:
                        self._learner.connect(self._engines)
                    for groups, step in self._since:
                        self._learner.update(groups, step)
                    return
                except RankFailed as another:
                    failure = another

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._learner.__exit__(kind, error, traceback)
