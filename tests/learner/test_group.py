"""Tests of the learner in the driver, without ranks."""

from __future__ import annotations

from itertools import chain
from types import SimpleNamespace

import pytest
from ray.exceptions import ActorDiedError, OutOfMemoryError, RayError

from learner.group import LearnerGroup, RankFailed
from tandem.batching import RankPlan, plan_step
from tandem.config.schema import Config
from tests.support.random_groups import random_groups


@pytest.mark.parametrize("death", [ActorDiedError(), OutOfMemoryError("the node was low on memory")])
def test_rank_that_died_is_named_before_those_that_failed_for_it(monkeypatch: pytest.MonkeyPatch, death: RayError) -> None:
    failures = {"first": RayError("a collective failed"), "second": death}
    group = LearnerGroup.__new__(LearnerGroup)
    group._ranks, group._timeout_s = [], 10.0

    def get(answer: str) -> None:
        raise failures[answer]

    monkeypatch.setattr("ray.get", get)
    monkeypatch.setattr("ray.wait", lambda pending, timeout: (pending[:1], pending[1:]))
    with pytest.raises(RankFailed, match=r"(?s)learner rank 1 of 0 failed in 'update': .*(died unexpectedly|low on memory)"):
        group._wait("update", ["first", "second"])


def test_each_rank_is_sent_only_its_own_share(monkeypatch: pytest.MonkeyPatch) -> None:
    config, groups = Config(), random_groups(0, groups=4, size=4)
    sent: dict[int, tuple[RankPlan, int]] = {}

    def rank(index: int) -> SimpleNamespace:
        return SimpleNamespace(update=SimpleNamespace(remote=lambda *arguments: sent.setdefault(index, arguments)))

    group = LearnerGroup.__new__(LearnerGroup)
    group._config, group._ranks = config, [rank(index) for index in range(3)]
    monkeypatch.setattr(group, "_wait", lambda method, answers: [{"rank": float(index)} for index, _ in enumerate(answers)])
    assert group.update(groups, 7) == {"rank": 0.0}
    for index, expected in enumerate(plan_step(groups, 7, config, 3)):
        plan, step = sent[index]
        assert step == 7 and [list(map(len, part)) for part in plan] == [list(map(len, part)) for part in expected]
        for batch, same in zip(chain.from_iterable(plan), chain.from_iterable(expected), strict=True):
            assert [sample.token_ids.tobytes() for sample in batch] == [sample.token_ids.tobytes() for sample in same]
    tokens = [sum(len(sample) for part in plan for batch in part for sample in batch) for plan, _ in sent.values()]
    assert sum(tokens) == sum(len(r.prompt_ids) + len(r) - 1 for g in groups for r in g.rollouts)
