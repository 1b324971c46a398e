"""The ratio's denominator as the learner recomputes it, without a model."""

from __future__ import annotations

from collections import defaultdict
from itertools import chain
from types import SimpleNamespace

import pytest
import torch

from learner.group import LearnerGroup
from learner.update import Updater
from tandem.batching import RankPlan, collate, plan_step, to_samples
from tandem.config.schema import Config
from tandem.data.random_groups import random_groups


def test_recomputed_denominator_covers_tokens_of_both_authors() -> None:
    """A weighted token of the junior is compared with what the senior gave it, not with what the junior did."""
    config = Config()
    batch = collate(to_samples(random_groups(0), junior_token_loss_weight=0.2))
    recomputed = batch.behaviour_logprobs - 1.0
    updater = Updater.__new__(Updater)
    updater._config, updater._sums = config, defaultdict(lambda: torch.zeros(()))

    class Engine:
        device = "cpu"

        def __call__(self, *_: object) -> tuple[torch.Tensor, torch.Tensor]:
            return recomputed, torch.zeros(len(recomputed))

    updater.engine = Engine()
    (after,) = updater._recompute_old((batch,))
    assert not batch.senior.all() and torch.equal(after.old_logprobs, recomputed)


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
