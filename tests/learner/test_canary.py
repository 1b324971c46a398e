"""The learner's log-probabilities of given texts, whole, partitioned and with an adapter."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from tandem.config.learner import LoraConfig
from tests.support.learner_ranks import Ranks, on_policy_groups, tiny_config
from tests.support.writing import prompt_logprobs

pytestmark = pytest.mark.engines

TEXTS = [[3, 1, 4, 1, 5, 9, 2, 6], [5, 3], [5, 8, 9, 7, 9, 3, 2, 3, 8, 4, 6]]


@pytest.mark.parametrize(
    ("count", "stage", "rank", "dtype"),
    [(1, 0, 0, "float32"), (2, 3, 0, "float32"), (2, 3, 4, "float32"), (2, 2, 4, "bfloat16")],
)
def test_texts_have_the_log_probabilities_of_the_exported_senior(
    ranks: dict[int, Ranks], model_paths: dict[str, str], tmp_path: Path, count: int, stage: int, rank: int, dtype: str
) -> None:
    path, learner = model_paths["tied"], ranks[count]
    learner("reload", tiny_config(ranks=count, zero_stage=stage, dtype=dtype, lora=LoraConfig(rank=rank, alpha=8)), path)
    groups = on_policy_groups(path, seed=3)
    gap = learner("train", groups, 1)["logprob/gap_mean"]
    assert learner("export", tmp_path) is None
    model = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    expected = np.concatenate([prompt_logprobs(model, text) for text in TEXTS])
    found = learner("text_logprobs", TEXTS)
    np.testing.assert_allclose(found, expected, atol=1e-4 if dtype == "float32" else 0.1)
    # At its own temperature again, where another one would be seen.
    learner("reload", tiny_config(ranks=count, zero_stage=stage, dtype=dtype, lora=LoraConfig(rank=rank, alpha=8)), path)
    assert learner("text_logprobs", TEXTS) != found, "the update is gone"
    assert learner("train", groups, 1)["logprob/gap_mean"] == pytest.approx(gap, rel=1e-3)
