"""The learner under supervision: when a rank dies, another group of ranks takes its place and is brought to where it was."""

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
from tandem.runtime.trace import Row
from tandem.runtime.weights import PublishedWeights

T = TypeVar("T")

KEPT_WITHOUT_CHECKPOINTS = 40
"""Updates that can be repeated in a run that writes no checkpoints: as many as with checkpoints by default."""


def updates_kept(save_every: int) -> int:
    """Return how many updates can be repeated where a checkpoint is written every `save_every` steps (0: never): as many as two
    checkpoints are apart, so that one that could not be written costs nothing."""
    return 2 * save_every or KEPT_WITHOUT_CHECKPOINTS


class ResilientLearner:
    """What `LearnerGroup` is, for as many restarts as `budget` allows; a context manager that ends the ranks.

    `start` starts a group with the state in a folder, or from the base model: first with `saved`. A group that lost a rank is
    replaced by one from the last checkpoint, which then repeats the updates since, from the same groups. An update is a
    function of the state and the groups, so all is as it was; what was being done is done again. The groups since the last
    checkpoint are kept in memory for that, those of `kept` updates at most: after more, a lost rank ends the run.
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
        """what was learned after that; None: more than is kept"""
        self._engines: list[ActorHandle] = []
        """whom every group connects to"""
        self._resting: Callable[[], AbstractContextManager[None]] = nullcontext
        """in whose block those leave the memory to learn in"""
        self._learner = start(saved)

    def connect(
        self, engines: Sequence[ActorHandle], sleeping: Callable[[], AbstractContextManager[None]] = nullcontext
    ) -> None:
        """See `LearnerGroup.connect`; groups that take this one's place connect to them too, and repeat updates in a block of
        `sleeping`."""
        self._surviving(lambda learner: learner.connect(engines))
        self._engines, self._resting = list(engines), sleeping

    def update(self, groups: Sequence[Group], step: int) -> dict[str, float]:
        """See `LearnerGroup.update`."""
        learned = self._surviving(lambda learner: learner.update(groups, step))
        self._budget.worked("learner")
        if self._since is not None:
            self._since.append((groups, step))
            if len(self._since) > self._kept:
                self._since = None
        return learned

    def publish(self, version: int) -> PublishedWeights:
        """See `LearnerGroup.publish`."""
        return self._surviving(lambda learner: learner.publish(version))

    def save(self, folder: Path) -> None:
        """See `LearnerGroup.save`. Nothing relies on it before `checkpointed` is called."""

        def save(learner: LearnerGroup) -> None:
            for begun in folder.iterdir():  # by ranks of which one died
                shutil.rmtree(begun) if begun.is_dir() else begun.unlink()
            learner.save(folder)

        self._surviving(save)

    def checkpointed(self, folder: Path) -> None:
        """What `save` wrote last is complete and lies in `folder`: restarts begin there."""
        self._saved, self._since = folder, []

    def export(self, path: Path) -> None:
        """See `LearnerGroup.export`."""
        self._surviving(lambda learner: learner.export(path))

    def start_profile(self) -> None:
        """See `LearnerGroup.start_profile`."""
        self._surviving(lambda learner: learner.start_profile())

    def stop_profile(self) -> list[Row]:
        """See `LearnerGroup.stop_profile`; empty rows of ranks that came in others' place."""
        return self._surviving(lambda learner: learner.stop_profile())

    def processes(self) -> dict[str, psutil.Process]:
        """See `LearnerGroup.processes`."""
        return self._learner.processes()

    def _surviving(self, work: Callable[[LearnerGroup], T]) -> T:
        """What `work` returns, done again by another group whenever a rank died of it."""
        while True:
            try:
                return work(self._learner)
            except RankFailed as lost:
                self._replace(lost)

    def _replace(self, lost: RankFailed) -> None:
        if self._since is None:
            raise LearnerError(
                f"{lost}; it is not started again: more than {self._kept} steps since the last checkpoint would have to be "
                "repeated, and their rollouts are not kept; set checkpoint.save_every, or make room on the disk"
            ) from lost
        with self._resting():
            while True:
                self._budget.spend("learner", lost)
                self._learner.kill()
                try:
                    self._learner = self._start(self._saved)
                    if self._engines:
                        self._learner.connect(self._engines)
                    for groups, step in self._since:
                        self._learner.update(groups, step)
                    return
                except RankFailed as again:
                    lost = again

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._learner.__exit__(kind, error, traceback)
