"""Tests of updates, weight sync and memory of the learner on real DeepSpeed in Ray actors."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from learner.group import LearnerError, LearnerGroup, RankFailed
from tandem.plan.memory import RANK_OVERHEAD_GIB, rank_memory
from tandem.plan.sizes import ModelSize
from tandem.rollout import JUNIOR
from tandem.runtime.segment import WeightSegment
from tandem.runtime.units import GIB
from tests.support.actor_death import kill_actor
from tests.support.learner_ranks import (
    GROUPS,
    TEMPERATURE,
    TOKENS,
    Ranks,
    assert_same,
    on_policy_groups,
    plain_logprobs,
    reference_loss,
    tiny_config,
)
from tests.support.random_groups import random_groups

pytestmark = pytest.mark.engines


@pytest.mark.parametrize(
    ("count", "stage", "offloaded"),
    [(1, 0, ()), (2, 2, ()), (2, 3, ()), (2, 2, ("optimizer",)), (2, 3, ("parameters",)), (2, 3, ("optimizer", "parameters"))],
)
def test_update_is_clipped_adamw_for_every_mini_batch(
    ranks: dict[int, Ranks], model_paths: dict[str, str], count: int, stage: int, offloaded: tuple[str, ...]
) -> None:
    path = model_paths["tied"]
    offload = {f"offload_{what}": True for what in offloaded}
    config = tiny_config(zero_stage=stage, grad_clip=0.5, weight_decay=0.1, warmup_steps=4, **offload)
    config.algo.mini_batches = 1
    ranks[count]("reload", config, path)
    model = AutoModelForCausalLM.from_pretrained(path)
    decayed = [p for p in model.parameters() if p.ndim == 2]
    kept = [p for p in model.parameters() if p.ndim == 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.1}, {"params": kept, "weight_decay": 0.0}], betas=(0.9, 0.98), eps=1e-2
    )
    for step in (1, 2):
        groups = on_policy_groups(path, seed=step)
        for parameters in optimizer.param_groups:
            parameters["lr"] = 1e-2 * step / 4
        optimizer.zero_grad()
        loss = reference_loss(model, groups)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        metrics = ranks[count]("train", groups, step)
        assert metrics["loss/policy"] == pytest.approx(loss.item(), rel=1e-4)
        assert metrics["grad/norm"] == pytest.approx(norm.item(), rel=1e-4)
        assert metrics["learner/lr"] == pytest.approx(1e-2 * step / 4)
    trained = {name: p.detach().numpy() for name, p in model.named_parameters()}
    assert_same(ranks[count]("master_weights"), trained, rtol=1e-5)


def test_gap_is_measured_before_update(ranks: dict[int, Ranks], model_paths: dict[str, str]) -> None:
    path = model_paths["tied"]
    groups = on_policy_groups(path, seed=4)
    model = AutoModelForCausalLM.from_pretrained(path)
    gaps = []
    with torch.no_grad():
        for r in (r for g in groups for r in g.rollouts):
            own = plain_logprobs(model, r.prompt_ids, r.token_ids, TEMPERATURE).numpy()
            gaps.append(np.abs(own - r.logprobs)[r.authorship == 1])
    config = tiny_config(zero_stage=3)
    config.algo.old_logprobs, config.algo.mini_batches = "learner", 4
    ranks[2]("reload", config, path)
    metrics = ranks[2]("train", groups, 1)
    assert metrics["logprob/gap_mean"] == pytest.approx(np.concatenate(gaps).mean(), rel=1e-4)
    config.algo.mini_batches = 1
    ranks[2]("reload", config, path)
    metrics = ranks[2]("train", groups, 1)
    assert metrics["policy/ratio_mean"] == pytest.approx(1.0, abs=1e-6) and metrics["policy/clip_fraction"] == 0
    assert metrics["learner/tokens"] == sum(len(r.prompt_ids) + len(r) - 1 for g in groups for r in g.rollouts)
    assert 0.95 <= metrics["learner/useful_token_fraction"] <= 1
    config.algo.old_logprobs = "rollout"
    ranks[2]("reload", config, path)
    metrics = ranks[2]("train", groups, 1)
    assert metrics["logprob/gap_mean"] == pytest.approx(np.concatenate(gaps).mean(), rel=1e-4)
    assert metrics["policy/ratio_mean"] != pytest.approx(1.0, abs=1e-5)
    stale = ranks[2]("train", groups, 2)
    assert "logprob/gap_mean" not in stale, "other weights wrote these rollouts"
    assert "logprob/stale_gap_mean" not in metrics and stale["logprob/stale_gap_mean"] > 0


@pytest.mark.parametrize(
    ("stage", "dtype", "offload"),
    [(0, "float32", False), (1, "bfloat16", False), (2, "float32", False), (3, "float32", False), (2, "bfloat16", True)],
)
def test_nonfinite_gradient_is_skipped_and_counted(
    ranks: dict[int, Ranks], model_paths: dict[str, str], stage: int, dtype: str, offload: bool
) -> None:
    ranks[1]("reload", tiny_config(zero_stage=stage, dtype=dtype, offload_optimizer=offload), model_paths["tied"])
    before = ranks[1]("publish", 0).checksum
    groups = random_groups(5, **GROUPS)
    for group in groups:
        group.advantages[:] = np.nan
    metrics = ranks[1]("train", groups, 1)
    assert metrics["grad/skipped"] == 2 and "grad/norm" not in metrics
    assert metrics["grad/skipped_in_a_row"] == 2
    assert ranks[1]("train", groups, 1)["grad/skipped_in_a_row"] == 4
    assert ranks[1]("publish", 1).checksum == before
    metrics = ranks[1]("train", random_groups(5, **GROUPS), 2)
    assert metrics["grad/skipped"] == metrics["grad/skipped_in_a_row"] == 0 and np.isfinite(metrics["grad/norm"])
    assert ranks[1]("publish", 2).checksum != before


@pytest.mark.parametrize(
    ("stage", "kind", "dtype"),
    [
        (1, "tied", "float32"),
        (2, "untied", "float32"),
        (3, "tied", "float32"),
        (3, "untied", "float32"),
        (3, "tied", "bfloat16"),
    ],
)
def test_trained_weights_are_published_and_exported(
    ranks: dict[int, Ranks], model_paths: dict[str, str], tmp_path: Path, stage: int, kind: str, dtype: str
) -> None:
    config = tiny_config(zero_stage=stage, dtype=dtype, publish_bucket_mib=0)  # one bucket per tensor
    ranks[2]("reload", config, model_paths[kind])
    stale = ranks[2]("publish", 0)
    ranks[2]("train", on_policy_groups(model_paths[kind], seed=6), 1)
    published = ranks[2]("publish", 1)
    assert (published.version, published.layout) == (1, stale.layout) and published.checksum != stale.checksum
    segment = WeightSegment(published.path, published.layout)
    assert segment.checksum() == published.checksum
    tensors = dict(segment.tensors())
    masters = ranks[2]("master_weights")
    assert list(tensors) == list(masters) and ("lm_head.weight" in tensors) == (kind == "untied")
    for name, tensor in tensors.items():
        assert torch.equal(tensor, torch.tensor(masters[name]).to(getattr(torch, dtype))), name
    ranks[2]("export", tmp_path)
    exported = AutoModelForCausalLM.from_pretrained(tmp_path, dtype="auto")
    assert all(torch.equal(p, tensors[name]) for name, p in exported.named_parameters())
    assert len(AutoTokenizer.from_pretrained(tmp_path)) == TOKENS


@pytest.mark.parametrize("count", [1, 2])
def test_weight_sync_gathers_one_bucket_at_a_time(ranks: dict[int, Ranks], model_paths: dict[str, str], count: int) -> None:
    ranks[count]("reload", tiny_config(zero_stage=3), model_paths["untied"])
    weights = {name: p.nbytes for name, p in AutoModelForCausalLM.from_pretrained(model_paths["untied"]).named_parameters()}
    total, largest = sum(weights.values()), max(weights.values())
    bucket = 2 * largest
    peak, sent, overlaps = ranks[count]("stream_weights", bucket)
    assert sent == total > 3 * bucket // 2
    assert bucket // 2 < peak <= bucket and overlaps >= 2
    peak, sent, overlaps = ranks[count]("stream_weights", 3 * largest // 4)
    assert sent == total and peak == largest and overlaps > 0, "a tensor that is larger goes alone, the others still overlap"


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize(
    ("stage", "dtype"), [(stage, dtype) for dtype in ("float32", "bfloat16") for stage in range(dtype == "bfloat16", 4)]
)
def test_memory_of_rank_between_updates_is_as_planned(
    ranks: dict[int, Ranks], model_paths: dict[str, str], stage: int, dtype: str, count: int
) -> None:
    config = tiny_config(zero_stage=stage, dtype=dtype, ranks=count, publish_bucket_mib=0)
    ranks[count]("reload", config, model_paths["tied"])
    kept = ranks[count]("kept", random_groups(1, **GROUPS))
    billion = rank_memory(ModelSize(parameters=GIB, layers=0, hidden=0, vocabulary=0, kv_values=0), config.learner)
    # Buckets are a larger share of a tiny model than of a real one.
    buffers = billion.buffers if "buffers" in billion.kept_between_updates else 0.0
    assert kept == pytest.approx(billion.between_updates - RANK_OVERHEAD_GIB - buffers, abs=0.8)


def test_rank_on_shared_gpu_frees_cached_memory(ranks: dict[int, Ranks], model_paths: dict[str, str]) -> None:
    for shares, expected in ((True, ["load", "update"]), (False, [])):
        assert ranks[1]("gives_back", tiny_config(), model_paths["tied"], random_groups(1, **GROUPS), shares) == expected


def test_group_trains_publishes_and_names_dead_rank(
    ranks: dict[int, Ranks], model_paths: dict[str, str], tmp_path: Path
) -> None:
    config, segment = tiny_config(zero_stage=2, ranks=2), tmp_path / "weights"
    with LearnerGroup(config, model_paths["tied"], segment) as learner:
        metrics = learner.update(random_groups(7, **GROUPS), 1)
        assert metrics["grad/norm"] > 0
        published = learner.publish(1)
        assert published.path == str(segment) and segment.exists()
        learner.export(tmp_path / "final")
        assert (tmp_path / "final" / "config.json").exists()
        groups = random_groups(7, **GROUPS)
        for rollout in (rollout for group in groups for rollout in group.rollouts):
            rollout.authorship[:] = JUNIOR
        idle = learner.update(groups, 2)
        assert idle["loss/policy"] == idle["learner/tokens"] == 0 and "policy/entropy" not in idle
        assert learner.publish(2).checksum == published.checksum, "the junior wrote everything: there is nothing to learn"
        with (
            patch("tandem.batching.plan_step", return_value=[None, None]),
            pytest.raises(LearnerError, match=r"(?s)rank 0 of 2 failed in 'update'.*'NoneType' object is not iterable"),
        ):
            learner.update(groups, 3)
        groups[0].advantages = groups[0].advantages[:1]
        with pytest.raises(ValueError, match="1 advantages for 4 rollouts"):
            learner.update(groups, 3)
        kill_actor(learner._ranks[1])
        with pytest.raises(RankFailed, match="rank 1 of 2 failed in 'update'"):
            learner.update(random_groups(8, **GROUPS), 3)
