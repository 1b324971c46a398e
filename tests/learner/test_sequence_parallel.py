"""Tests of sequence parallelism: two ranks that split each sequence equal one rank."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from tandem.config.algo import AlgoConfig
from tandem.config.learner import LoraConfig
from tandem.config.schema import Config, ConfigError
from tandem.models.inspection import inspect_model
from tandem.models.sequence_parallel import MODEL_TYPES
from tests.support.learner_ranks import Ranks, assert_same, on_policy_groups, tiny_config
from tests.support.model_families import FAMILIES, save_family
from tests.support.random_groups import random_groups
from tests.support.writing import prompt_logprobs

pytestmark = pytest.mark.engines


def shared(**settings: Any) -> dict[int, Config]:
    """Return configurations by the number of ranks, which split each sequence."""
    return {count: tiny_config(sequence_parallel=count, **settings) for count in (1, 2)}


@pytest.mark.parametrize(
    ("stage", "kind", "checkpointing", "tokens"),
    # With one token every rollout is a micro-batch: a rank may have no completion token, or only the end of one.
    [(0, "tied", False, 90), (1, "untied", True, 1), (2, "tied", False, 400), (3, "tied", False, 1), (3, "untied", True, 90)],
)
def test_gradient_equals_one_ranks(
    ranks: dict[int, Ranks], model_paths: dict[str, str], stage: int, kind: str, checkpointing: bool, tokens: int
) -> None:
    groups = on_policy_groups(model_paths[kind], seed=7)
    gradients = {}
    for count, config in shared(zero_stage=stage, gradient_checkpointing=checkpointing, micro_batch_tokens=tokens).items():
        config.algo.mini_batches = 1
        ranks[count]("reload", config, model_paths[kind])
        gradients[count] = ranks[count]("gradient", groups)
    assert_same(gradients[2], gradients[1], rtol=1e-5)


def test_steps_and_metrics_equal_one_ranks(ranks: dict[int, Ranks], model_paths: dict[str, str]) -> None:
    path = model_paths["untied"]
    metrics, weights, logprobs = {}, {}, {}
    for count, config in shared(zero_stage=2, micro_batch_tokens=90 // 2).items():
        config.algo = AlgoConfig(mini_batches=2, policy_loss="gspo", kl_coef=0.3, lambda_junior=0.2, old_logprobs="learner")
        ranks[count]("reload", config, path, None, model_paths["tied"])
        metrics[count] = [ranks[count]("train", on_policy_groups(path, seed), seed) for seed in (1, 2)]
        weights[count] = ranks[count]("master_weights")
        logprobs[count] = ranks[count]("text_logprobs", [[3, 1, 4, 1, 5], [9, 2, 6]])
    for one, two in zip(metrics[1], metrics[2], strict=True):
        for name in one.keys() - {"learner/useful_token_fraction"}:  # micro-batches are twice as long
            assert two[name] == pytest.approx(one[name], rel=1e-4, abs=1e-6), name
    assert_same(weights[2], weights[1], rtol=1e-5)
    torch.testing.assert_close(torch.tensor(logprobs[2]), torch.tensor(logprobs[1]), atol=1e-5, rtol=0)


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_logprobs_of_every_family_are_those_of_whole_sequences(ranks: dict[int, Ranks], tmp_path: Path, family: str) -> None:
    path = save_family(family, tmp_path)
    config = tiny_config(sequence_parallel=2)
    if FAMILIES[family]().model_type in MODEL_TYPES:
        texts = [[int(token) for token in np.random.default_rng(seed).integers(4, 300, 60 + seed)] for seed in range(2)]
        ranks[2]("reload", config, str(path))
        found = ranks[2]("text_logprobs", texts)
        model = AutoModelForCausalLM.from_pretrained(path)
        np.testing.assert_allclose(found, np.concatenate([prompt_logprobs(model, text) for text in texts]), atol=1e-4)
    else:
        with pytest.raises(ConfigError, match="cannot be split; choose 1"):
            inspect_model(path, "model.path", config.learner)


def test_window_mask_is_freed_after_an_update(ranks: dict[int, Ranks], tmp_path: Path) -> None:
    groups, config = random_groups(0, tokens=(40, 60)), tiny_config(sequence_parallel=2)  # longer than the window
    config.algo.mini_batches = 1
    ranks[2]("reload", config, str(save_family("mistral, sliding window", tmp_path)))
    ranks[2]("gradient", groups)
    assert ranks[2]("window_masks") == 1
    ranks[2]("train", groups, 1)
    assert ranks[2]("window_masks") == 0


def test_gradient_of_an_adapter_equals_one_ranks(ranks: dict[int, Ranks], model_paths: dict[str, str]) -> None:
    groups = on_policy_groups(model_paths["tied"], seed=9)
    gradients = {}
    for count, config in shared(zero_stage=3, dtype="bfloat16", lora=LoraConfig(rank=3)).items():
        config.algo = AlgoConfig(mini_batches=1, kl_coef=0.1)
        ranks[count]("reload", config, model_paths["tied"])
        gradients[count] = ranks[count]("gradient", groups)
    assert_same(gradients[2], gradients[1], rtol=0.02)
