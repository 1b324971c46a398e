"""Tests of restarts of the learner after deaths of its ranks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from learner.group import LearnerError, RankFailed
from learner.resilient_learner import ResilientLearner, updates_kept
from tandem.guards import GuardError
from tandem.runtime.errors import plain_error
from tandem.runtime.restarts import RestartBudget


class Group:
    """A simulated learner whose state is the list of its updates, and whose ranks die at the calls in `fates`."""

    def __init__(self, saved: Path | None, fates: Iterator[bool], disk: dict[Path | None, list[Any]]) -> None:
        self._fates, self._disk = fates, disk
        self._may_die()
        self.state = [*disk[saved]]

    def _may_die(self) -> None:
        if next(self._fates, False):
            raise RankFailed("learner rank 0 of 1 failed: died")

    def update(self, groups: list[int], step: int) -> dict[str, float]:
        self.state.append((step, groups))
        self._may_die()  # with the update half done
        return {"sum": float(sum(groups))}

    def publish(self, version: int) -> list[Any]:
        self._may_die()
        return [version, *self.state]

    def save(self, folder: Path) -> None:
        (folder / "half").write_text("")
        self._may_die()
        assert len(list(folder.iterdir())) == 1, "what the dead group left is removed"
        self._disk[folder] = [*self.state]

    def kill(self) -> None:
        """Do nothing: the group has ended."""


def run(fates: list[bool], folder: Path, save_every: int, per_hour: int = 1000) -> list[Any]:
    """Return the versions and states that a run of six steps publishes."""
    disk: dict[Path | None, list[Any]] = {None: []}
    deaths = iter([False, False, *fates])  # the first start and the first update succeed
    learner: Any = ResilientLearner(lambda saved: Group(saved, deaths, disk), RestartBudget(per_hour))  # type: ignore[arg-type,return-value]
    seen: list[Any] = []
    for step in range(1, 7):
        seen.append(learner.update([step, 10 * step], step))
        seen.append(learner.publish(step))
        if save_every and step % save_every == 0:
            (path := folder / str(step)).mkdir(exist_ok=True)
            learner.save(path)
            learner.checkpointed(path)
    return seen


@given(st.lists(st.booleans(), max_size=40), st.sampled_from([0, 1, 2, 3]))
def test_published_weights_do_not_depend_on_deaths_of_ranks(
    tmp_path_factory: pytest.TempPathFactory, fates: list[bool], save_every: int
) -> None:
    folders = [tmp_path_factory.mktemp("run") for _ in range(2)]
    assert run(fates, folders[0], save_every) == run([], folders[1], save_every)


def test_restarted_group_repeats_updates_while_engines_sleep(tmp_path: Path) -> None:
    rests: list[str] = []

    @contextmanager
    def sleeping() -> Iterator[None]:
        rests.append("begin")
        yield
        rests.append("end")

    class Watched(Group):
        def connect(self, engines: list[str]) -> None:
            pass

        def update(self, groups: list[int], step: int) -> dict[str, float]:
            rests.append(f"update {step}")
            return super().update(groups, step)

    disk: dict[Path | None, list[Any]] = {None: []}
    # Starts, then updates and checkpoints in turn: the second checkpoint dies, and so does the restarted group.
    deaths = iter([False, False, False, False, True, True, False, True])
    learner: Any = ResilientLearner(lambda saved: Watched(saved, deaths, disk), RestartBudget(100))  # type: ignore[arg-type,return-value]
    learner.connect(["engine"], sleeping)
    for step in (1, 2):
        learner.update([step], step)
        (path := tmp_path / str(step)).mkdir()
        learner.save(path)
    assert disk[path] == [(1, [1]), (2, [2])]
    assert rests == ["update 1", "update 2", "begin", "update 1", "update 1", "update 2", "end"]


def test_ranks_that_die_twice_before_first_update_end_run() -> None:
    budget, fates = RestartBudget(20), iter([False, True, False, True])
    learner: Any = ResilientLearner(lambda saved: Group(saved, fates, {None: []}), budget)  # type: ignore[arg-type,return-value]
    with pytest.raises(GuardError, match="learner died twice in the same way before it had done any work.*: died"):
        learner.update([1], 1)
    assert budget.total == 1


def test_too_many_restarts_of_ranks_end_the_run(tmp_path: Path) -> None:
    with pytest.raises(GuardError, match=r"4 failures within an hour \(learner 4 times\)"):
        run([True] * 40, tmp_path, 0, per_hour=3)


@pytest.mark.parametrize("save_every", [0, 3])
def test_only_updates_since_checkpoint_are_kept(tmp_path: Path, save_every: int) -> None:
    """Every checkpoint fails on a full disk, which is equivalent to a run without checkpoints."""
    kept = updates_kept(save_every)
    disk: dict[Path | None, list[Any]] = {None: []}
    deaths = iter([False, *[False] * (kept - 1), True, False, *[False] * kept, False, True, True])
    learner: Any = ResilientLearner(lambda saved: Group(saved, deaths, disk), RestartBudget(10), kept=kept)  # type: ignore[arg-type,return-value]
    for step in range(1, kept + 2):  # a death in the last update that can be repeated is survived
        learner.update([step], step)
    assert learner._since is None, "updates that cannot be repeated are not kept"
    message = f"more than {kept} steps since the last checkpoint.*set checkpoint.save_every"
    with pytest.raises(LearnerError, match=message) as raised:
        learner.publish(kept + 1)
    assert plain_error(raised.value) is raised.value, "the user sees it"
    (path := tmp_path / "later").mkdir()
    learner._learner.state, disk[path] = [], []
    learner.checkpointed(path)
    assert learner.update([1], kept + 2) == {"sum": 1.0}, "after a checkpoint restarts are possible again"


def test_error_without_death_is_raised_at_once() -> None:
    class Broken(Group):
        def update(self, groups: list[int], step: int) -> dict[str, float]:
            raise LearnerError("a shape is wrong")

    budget = RestartBudget(10)
    learner: Any = ResilientLearner(lambda saved: Broken(saved, iter(()), {None: []}), budget)  # type: ignore[arg-type,return-value]
    with pytest.raises(LearnerError, match="a shape is wrong"):
        learner.update([1], 1)
    assert budget.total == 0
