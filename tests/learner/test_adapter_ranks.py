"""An adapter under DeepSpeed: its gradient, its reference, its checkpoints and what is published, on one rank and two."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from learner.publish import ADAPTER
from tandem.batching import apply_aggregation, collate, to_samples
from tandem.config.learner import LoraConfig
from tandem.config.schema import Config
from tandem.loss import micro_batch_loss
from tandem.rollout import Group
from tandem.runtime.segment import WeightSegment
from tests.support.learner_ranks import GROUPS, TEMPERATURE, Ranks, assert_same, on_policy_groups, plain_logprobs, tiny_config
from tests.support.random_groups import random_groups

pytestmark = pytest.mark.engines

SPREADS = [(1, 0, "float32"), (1, 1, "bfloat16"), (2, 2, "float32"), (2, 3, "float32"), (2, 3, "bfloat16")]
"""Ranks, ZeRO stage and the dtype of the base."""


def adapted(ranks: int, stage: int, dtype: str = "float32", **learner: Any) -> Config:
    return tiny_config(ranks=ranks, zero_stage=stage, dtype=dtype, lora=LoraConfig(rank=4, alpha=8, lr_scale=2), **learner)


def trained_adapter(learner: Ranks, path: str, folder: Path, dtype: str) -> peft.PeftModel:
    """Take one step, and return what the learner computes then as a model of transformers and peft."""
    learner("train", on_policy_groups(path, seed=3), 1)
    assert learner("export", folder) is None
    base = AutoModelForCausalLM.from_pretrained(path, dtype=getattr(torch, dtype))
    return peft.PeftModel.from_pretrained(base, folder / ADAPTER, is_trainable=True)


def logprobs(model: peft.PeftModel, groups: list[Group]) -> torch.Tensor:
    rollouts = [rollout for group in groups for rollout in group.rollouts]
    return torch.cat([plain_logprobs(model, r.prompt_ids, r.token_ids, TEMPERATURE) for r in rollouts]).float()


@pytest.mark.parametrize(("count", "stage", "dtype"), SPREADS)
def test_gradient_and_reference_are_those_of_peft_with_the_adapter_on_and_off(
    ranks: dict[int, Ranks], model_paths: dict[str, str], tmp_path: Path, count: int, stage: int, dtype: str
) -> None:
    path, groups = model_paths["tied"], on_policy_groups(model_paths["tied"], seed=5)
    config = adapted(count, stage, dtype)
    config.algo.mini_batches, config.algo.kl_coef = 1, 0.3
    config.algo.clip_low = config.algo.clip_high = 100.0  # rounding must not move tokens across the clip
    ranks[count]("reload", config, path)
    model = trained_adapter(ranks[count], path, tmp_path, dtype)

    with torch.no_grad(), model.disable_adapter():
        of_base = logprobs(model, groups)
    samples = to_samples(groups, 0.0)
    ((samples,),) = apply_aggregation([[samples]], config.algo.aggregation, config.rollout.sampling.max_tokens)
    of_model = logprobs(model, groups)
    senior = torch.from_numpy(np.concatenate([r.authorship == 1 for g in groups for r in g.rollouts]))
    loss, stats = micro_batch_loss(of_model[senior], replace(collate(samples), reference_logprobs=of_base[senior]), config.algo)
    assert stats["kl_reference"] > 1e-3, "the update has moved the senior away from its base"
    loss.backward()
    expected = {
        name.removeprefix("base_model.model."): p.grad.float().numpy()
        for name, p in model.named_parameters()
        if p.requires_grad
    }
    assert_same(ranks[count]("gradient", groups), expected, rtol=1e-4 if dtype == "float32" else 0.1)


@pytest.mark.parametrize(("count", "stage", "dtype"), SPREADS)
def test_merged_weights_are_published_and_exported(
    ranks: dict[int, Ranks], model_paths: dict[str, str], tmp_path: Path, count: int, stage: int, dtype: str
) -> None:
    path, groups = model_paths["untied"], on_policy_groups(model_paths["untied"], seed=6)
    ranks[count]("reload", adapted(count, stage, dtype, publish_bucket_mib=0), path)  # a bucket for each tensor
    published = ranks[count]("publish", 0)
    base = dict(AutoModelForCausalLM.from_pretrained(path, dtype=getattr(torch, dtype)).named_parameters())
    tensors = dict(WeightSegment(published.path, published.layout).tensors())
    assert tensors.keys() == base.keys() and all(torch.equal(tensors[name], p) for name, p in base.items())
    model = trained_adapter(ranks[count], path, tmp_path, dtype)
    published = ranks[count]("publish", 1)
    exported = load_file(tmp_path / "model.safetensors")
    segment = WeightSegment(published.path, published.layout)
    assert segment.checksum() == published.checksum
    tensors = dict(segment.tensors())
    assert exported.keys() == tensors.keys() and all(torch.equal(exported[name], tensors[name]) for name in tensors)
    merged = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=getattr(torch, dtype))
    with torch.no_grad():
        gap = (logprobs(merged, groups) - logprobs(model, groups)).abs()
    assert gap.max() < 1e-4 if dtype == "float32" else gap.mean() < 0.05


@pytest.mark.parametrize(("count", "stage"), [(1, 1), (2, 3)])
def test_adapter_alone_is_published_as_it_is_exported(
    ranks: dict[int, Ranks], model_paths: dict[str, str], tmp_path: Path, count: int, stage: int
) -> None:
    config = adapted(count, stage, "bfloat16", publish_bucket_mib=0)
    config.learner.lora.sync = "adapter"
    ranks[count]("reload", config, model_paths["tied"])
    trained_adapter(ranks[count], model_paths["tied"], tmp_path, "bfloat16")
    published = ranks[count]("publish", 1)
    segment = WeightSegment(published.path, published.layout)
    assert segment.checksum() == published.checksum
    tensors, exported = dict(segment.tensors()), load_file(tmp_path / ADAPTER / "adapter_model.safetensors")
    assert exported.keys() == tensors.keys() and all(torch.equal(exported[name], tensors[name]) for name in tensors)


@pytest.mark.parametrize(
    ("spread", "other"),
    [((1, 0), (1, 0)), ((2, 1), (1, 2)), ((2, 3), (1, 3))],
)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_checkpoint_holds_the_adapter_alone_and_training_continues_exactly(
    ranks: dict[int, Ranks],
    model_paths: dict[str, str],
    tmp_path: Path,
    spread: tuple[int, int],
    other: tuple[int, int],
    dtype: str,
) -> None:
    path, (count, stage) = model_paths["tied"], spread
    (folder := tmp_path / "step-000002" / "learner").mkdir(parents=True)
    learner = ranks[count]

    def train(learner: Ranks, *steps: int) -> dict[str, np.ndarray]:
        for step in steps:
            learner("train", on_policy_groups(path, seed=step), step)
        weights: dict[str, np.ndarray] = learner("master_weights")
        return weights

    learner("reload", adapted(count, stage, dtype), path)
    before = train(learner, 1, 2)
    assert learner("save", folder) is None
    after, checksum = train(learner, 3, 4), learner("publish", 4).checksum
    for file in folder.rglob("*model_states.pt"):
        state = torch.load(file, weights_only=False)
        assert state["module"].keys() == {f"model.{name}" for name in before} and not state.get("frozen_param_fragments")

    learner("reload", adapted(count, stage, dtype), path, folder)
    assert all(np.array_equal(weights, before[name]) for name, weights in learner("master_weights").items())
    assert all(np.array_equal(weights, after[name]) for name, weights in train(learner, 3, 4).items())
    assert learner("publish", 4).checksum == checksum

    ranks[other[0]]("reload", adapted(*other, dtype), path, folder)
    assert all(np.array_equal(weights, before[name]) for name, weights in ranks[other[0]]("master_weights").items())
    moved = {name: after[name] - before[name] for name in after}
    resumed = {name: weights - before[name] for name, weights in train(ranks[other[0]], 3, 4).items()}
    assert_same(resumed, moved, rtol=1e-3 if dtype == "float32" else 0.1)


@pytest.mark.parametrize("stage", [0, 3])
def test_update_of_an_adapter_is_skipped_if_its_gradient_is_not_finite(
    ranks: dict[int, Ranks], model_paths: dict[str, str], stage: int
) -> None:
    ranks[1]("reload", adapted(1, stage), model_paths["tied"])
    groups = random_groups(5, **GROUPS)
    for group in groups:
        group.advantages[:] = np.nan
    before = ranks[1]("publish", 0).checksum
    assert ranks[1]("train", groups, 1)["grad/skipped"] == 2 and ranks[1]("publish", 1).checksum == before
    metrics = ranks[1]("train", random_groups(5, **GROUPS), 2)
    assert metrics["learner/lr"] == pytest.approx(2e-2) and ranks[1]("publish", 2).checksum != before
