"""Tests of the learner's log-probabilities and gradients on real DeepSpeed, against plain transformers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from learner.policy import Policy
from tandem.batching import apply_aggregation, collate, to_samples
from tandem.config.algo import AlgoConfig
from tandem.loss import micro_batch_loss
from tandem.rollout import Group
from tests.support.learner_ranks import (
    GROUPS,
    TEMPERATURE,
    VOCABULARY,
    Ranks,
    assert_same,
    on_policy_groups,
    plain_logprobs,
    reference_loss,
    tiny_config,
)
from tests.support.random_groups import random_groups

pytestmark = pytest.mark.engines


def reference_gradient(path: str, groups: Sequence[Group]) -> dict[str, np.ndarray]:
    model = AutoModelForCausalLM.from_pretrained(path)
    reference_loss(model, groups).backward()
    return {name: p.grad.numpy() for name, p in model.named_parameters()}


@pytest.mark.parametrize("temperature", [1.0, 0.6])
@pytest.mark.parametrize("kind", ["tied", "untied"])
def test_logprobs_equal_plain_transformers(model_paths: dict[str, str], kind: str, temperature: float) -> None:
    groups = random_groups(0, **GROUPS)
    policy = Policy(model_paths[kind], dtype=torch.float32, temperature=temperature, chunk=16)
    model = AutoModelForCausalLM.from_pretrained(model_paths[kind])
    batch = collate(to_samples(groups, 1.0))
    with torch.no_grad():
        got, entropies = policy(batch.input_ids, batch.positions, batch.targets)
        rollouts = [r for g in groups for r in g.rollouts]
        expected = torch.cat([plain_logprobs(model, r.prompt_ids, r.token_ids, temperature) for r in rollouts])
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=0)
    assert (entropies > 0).all() and (entropies < np.log(VOCABULARY)).all()


@pytest.mark.parametrize(
    ("count", "stage", "kind", "checkpointing"),
    [
        (1, 0, "tied", False),
        (1, 2, "untied", True),
        (2, 0, "tied", False),
        (2, 1, "tied", False),
        (2, 2, "untied", False),
        (2, 3, "tied", False),
        (2, 3, "untied", True),
    ],
)
def test_gradients_match_reference_on_any_number_of_ranks(
    ranks: dict[int, Ranks], model_paths: dict[str, str], count: int, stage: int, kind: str, checkpointing: bool
) -> None:
    groups = on_policy_groups(model_paths[kind], seed=1)
    config = tiny_config(zero_stage=stage, gradient_checkpointing=checkpointing)
    config.algo.mini_batches = 1
    ranks[count]("reload", config, model_paths[kind])
    assert_same(ranks[count]("gradient", groups), reference_gradient(model_paths[kind], groups), rtol=1e-5)


@pytest.mark.parametrize(("count", "stage", "reference"), [(1, 0, "tied"), (2, 2, "untied"), (2, 3, "tied")])
def test_every_term_of_objective_reaches_gradient(
    ranks: dict[int, Ranks], model_paths: dict[str, str], count: int, stage: int, reference: str
) -> None:
    path, reference_path = model_paths["untied"], model_paths[reference]
    groups = on_policy_groups(path, seed=5)
    config = tiny_config(zero_stage=stage)
    config.algo = AlgoConfig(mini_batches=1, policy_loss="gspo", aggregation="sequence", kl_coef=0.3, lambda_junior=0.2)
    ranks[count]("reload", config, path, None, reference_path)
    metrics = ranks[count]("train", groups, 1)
    assert (metrics["loss/kl_reference"] > 1e-3) == (reference != "untied"), "the senior equals its base at the start"

    model, base = (AutoModelForCausalLM.from_pretrained(each) for each in (path, reference_path))
    model.load_state_dict({name: torch.from_numpy(p) for name, p in ranks[count]("master_weights").items()})
    samples = to_samples(groups, 0.0, imitate_junior=True)
    ((samples,),) = apply_aggregation([[samples]], config.algo.aggregation, config.rollout.sampling.max_tokens)
    rollouts = [r for g in groups for r in g.rollouts]
    of_model, of_base = (
        torch.cat([plain_logprobs(each, r.prompt_ids, r.token_ids, TEMPERATURE) for r in rollouts]) for each in (model, base)
    )
    loss, stats = micro_batch_loss(of_model, replace(collate(samples), reference_logprobs=of_base.detach()), config.algo)
    assert stats["kl_reference"] > 1e-4, "the update has changed the senior"
    loss.backward()
    assert_same(ranks[count]("gradient", groups), {name: p.grad.numpy() for name, p in model.named_parameters()}, rtol=1e-5)


def test_mismatch_of_engine_and_learner_is_corrected(ranks: dict[int, Ranks], model_paths: dict[str, str]) -> None:
    path = model_paths["tied"]
    groups = on_policy_groups(path, seed=6)
    config = tiny_config(zero_stage=3)
    config.algo = AlgoConfig(mini_batches=1, old_logprobs="learner", mismatch="icepop", mismatch_low=0.9, mismatch_high=1.2)
    ranks[2]("reload", config, path)
    metrics = ranks[2]("train", groups, 1)
    model = AutoModelForCausalLM.from_pretrained(path)
    with torch.no_grad():
        ratios = np.concatenate(
            [
                np.exp(plain_logprobs(model, r.prompt_ids, r.token_ids, TEMPERATURE).numpy() - r.logprobs)[r.authorship == 1]
                for r in (r for g in groups for r in g.rollouts)
            ]
        )
    kept = np.where((ratios >= 0.9) & (ratios <= 1.2), ratios, 0)
    assert metrics["mismatch/weight_mean"] == pytest.approx(kept.mean(), rel=1e-4)
    assert metrics["mismatch/masked_fraction"] == pytest.approx(np.mean(kept == 0)) and 0.1 < np.mean(kept == 0) < 0.9


def test_step_whose_tokens_are_all_masked_has_no_gradient(ranks: dict[int, Ranks], model_paths: dict[str, str]) -> None:
    groups = on_policy_groups(model_paths["tied"], seed=6)
    for rollout in (rollout for group in groups for rollout in group.rollouts):
        rollout.logprobs = rollout.logprobs - 3  # the engine is far from the learner at every token
    config = tiny_config()
    config.algo = AlgoConfig(mini_batches=1, old_logprobs="learner", mismatch="sequence_mask")
    ranks[1]("reload", config, model_paths["tied"])
    before = ranks[1]("publish", 0).checksum
    metrics = ranks[1]("train", groups, 1)
    assert metrics["mismatch/masked_fraction"] == 1 and metrics["mismatch/weight_mean"] == 0
    assert metrics["loss/policy"] == metrics["grad/norm"] == 0 and 0 < metrics["policy/entropy"] <= np.log(VOCABULARY)
    assert "policy/clip_fraction" not in metrics
    assert ranks[1]("publish", 1).checksum == before


def test_gradient_is_equal_on_one_and_two_ranks(ranks: dict[int, Ranks], model_paths: dict[str, str]) -> None:
    groups = on_policy_groups(model_paths["tied"], seed=2)
    gradients = []
    for count, stage, budget, offload in [
        (1, 2, 4096, False),
        (1, 2, 40, False),
        (2, 2, 200, False),
        (2, 3, 70, False),
        (2, 1, 70, True),
        (2, 3, 70, True),
    ]:
        config = tiny_config(
            zero_stage=stage, micro_batch_tokens=budget, offload_optimizer=offload, offload_parameters=offload and stage == 3
        )
        config.algo.mini_batches = 1
        ranks[count]("reload", config, model_paths["tied"])
        gradients.append(ranks[count]("gradient", groups))
    for gradient in gradients[1:]:
        assert_same(gradient, gradients[0], rtol=1e-5)


@pytest.mark.parametrize(("stage", "offload"), [(1, False), (2, False), (3, False), (2, True)])
def test_bfloat16_gradients_equal_float32_up_to_rounding(
    ranks: dict[int, Ranks], model_paths: dict[str, str], stage: int, offload: bool
) -> None:
    groups = on_policy_groups(model_paths["tied"], seed=3)
    config = tiny_config(zero_stage=stage, dtype="bfloat16", offload_optimizer=offload)
    config.algo.mini_batches = 1
    config.algo.clip_low = config.algo.clip_high = 100.0  # rounding must not move tokens across the clipping limit
    ranks[2]("reload", config, model_paths["tied"])
    rounded = ranks[2]("gradient", groups)
    config.learner.dtype = "float32"
    ranks[2]("reload", config, model_paths["tied"])
    assert_same(rounded, ranks[2]("gradient", groups), rtol=0.1)
