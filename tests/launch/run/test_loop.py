"""Tests of the training loop's collection of groups, without engines."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from launch.run.loop import collect_groups
from launch.run.training_run import RolloutRun
from tandem.config.schema import Config
from tandem.guards import GuardError
from tandem.metrics import PhaseTimer
from tandem.rollout import Group, Verdict
from tandem.verify.judgement import Judgement, plain_judgement
from tests.support.random_groups import random_groups


class ListedGroups:
    """A group source and a judge: takes groups from a list, of equal or unequal verdicts; the first `late` miss a deadline."""

    def __init__(self, constant: Sequence[bool], late: int) -> None:
        self._constant, self._late = iter(constant), late
        self.taken: list[int] = []
        self.rejected: list[int] = []
        self.dropped = 0
        self._judged: dict[int, tuple[Group, list[Judgement]]] = {}

    def take(self, step: int, count: int, on_group: Callable[[object], None]) -> list[Group]:
        self.taken.append(count)
        late = min(self._late, count) if len(self.taken) == 1 else 0
        self.dropped += late
        groups = []
        for constant in islice(self._constant, count - late):
            (group,) = random_groups(len(self._judged), groups=1, size=2, senior_share=1.0)
            verdicts = (Verdict.CORRECT, Verdict.CORRECT if constant else Verdict.WRONG)
            self._judged[id(group)] = group, list(map(plain_judgement, verdicts))
            groups.append(group)
        return groups

    def reject(self, count: int) -> None:
        self.rejected.append(count)

    def judge_groups(self, groups: Sequence[Group], timeout_s: float) -> None:
        for group in groups:
            _, group.judgements = self._judged[id(group)]


class Console:
    """A console that shows nothing."""

    def print(self, message: str) -> None:
        pass

    @contextmanager
    def progress(self, what: str, total: int) -> Iterator[Callable[[object], None]]:
        yield lambda _: None


def rollout_run(source: ListedGroups, wanted: int, rounds: int) -> tuple[RolloutRun, list[Group]]:
    """Return a run under `schedule=solo` that takes `wanted` groups a step, and the list of samples that it saves."""
    config = Config()
    config.schedule.name = "solo"
    config.rollout.prompts_per_step, config.algo.dynamic_sampling_rounds = wanted, rounds
    saved: list[Group] = []
    authors = SimpleNamespace(boundaries=np.zeros(200, np.int8), juniors=[])
    run: Any = SimpleNamespace(config=config, authors=authors, group_source=source, judge=source, console=Console())
    run.save_samples = lambda step, groups: saved.extend(groups)
    return run, saved


@given(st.lists(st.booleans(), min_size=60, max_size=60), st.integers(1, 6), st.integers(0, 4), st.integers(0, 2))
def test_constant_groups_are_replaced_while_rounds_last(constant: list[bool], wanted: int, rounds: int, late: int) -> None:
    source = ListedGroups(constant, late=min(late, wanted - 1))
    run, saved = rollout_run(source, wanted, rounds)
    groups, metrics = collect_groups(run, 1, 0, PhaseTimer())
    written = sum(source.taken) - source.dropped
    assert source.taken == [wanted, *source.rejected] and len(source.rejected) <= rounds
    assert len(groups) == min(wanted, written) and all(len(group.advantages) == 2 for group in groups)
    assert [id(group) for group in saved] == [id(group) for group in groups]
    unequal = constant[:written].count(False)
    assert sum(not group.constant for group in groups) == unequal, "no mixed group is dropped"
    assert unequal == wanted or len(source.rejected) == rounds, "constant groups are used only after all rounds"
    assert metrics["rollout/groups_dropped"] == source.dropped
    assert metrics["rollout/groups_refilled"] == max(0, written - wanted)


@pytest.mark.parametrize(("version", "message"), [(1, "sampled from weight versions"), (0, "no group of this step finished")])
def test_groups_that_fail_check_end_run(version: int, message: str) -> None:
    source = ListedGroups([False] * 4, late=0 if version else 4)
    run, saved = rollout_run(source, 4, rounds=0)
    with pytest.raises(GuardError, match=message):
        collect_groups(run, 1, version, PhaseTimer())
    assert not saved
