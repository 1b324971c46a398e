"""The ratio's denominator as the learner recomputes it, without a model."""

from __future__ import annotations

from collections import defaultdict

import pytest
import torch

from learner.update import Updater
from tandem.batching import collate, to_samples
from tandem.config.schema import Config
from tests.support.random_groups import random_groups

pytestmark = pytest.mark.seconds


def test_recomputed_denominator_covers_tokens_of_both_authors() -> None:
    """A weighted token of the junior is compared with what the senior gave it, not with what the junior did."""
    config = Config()
    batch = collate(to_samples(random_groups(0), junior_token_loss_weight=0.2))
    recomputed = batch.behavior_logprobs - 1.0
    updater = Updater.__new__(Updater)
    updater._config, updater._sums = config, defaultdict(lambda: torch.zeros(()))

    class Engine:
        device = "cpu"

        def __call__(self, *_: object) -> tuple[torch.Tensor, torch.Tensor]:
            return recomputed, torch.zeros(len(recomputed))

    updater.engine = Engine()
    (after,) = updater._recompute_old((batch,))
    assert not batch.senior.all() and torch.equal(after.old_logprobs, recomputed)
