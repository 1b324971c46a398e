"""Tests of the learner in the driver, without ranks."""

from __future__ import annotations

from itertools import chain
from types import SimpleNamespace

import pytest

from learner.group import LearnerGroup
from tandem.batching import RankPlan, plan_step
from tandem.config.schema import Config
from tandem.data.random_groups import random_groups


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
