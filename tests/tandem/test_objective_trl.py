"""The policy losses against TRL's: its own code on the same numbers."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from tandem.batching import MicroBatch
from tandem.config.algo import AlgoConfig
from tandem.loss import micro_batch_loss
from tests.support.objective_batches import MAX_TOKENS, batch_of, policy_logprobs, random_samples, rows

pytestmark = pytest.mark.seconds

LOW, HIGH = 0.2, 0.3


@pytest.fixture(scope="module")
def grpo_trainer() -> Any:
    trl = pytest.importorskip("trl", reason="TRL is among the development packages")
    return trl.GRPOTrainer


def trl_loss(trainer_class: Any, batch: MicroBatch, logprobs: Tensor, **settings: Any) -> Tensor:
    """What `GRPOTrainer` makes of the batch, given the policy's log-probabilities instead of a model."""
    trainer = trainer_class.__new__(trainer_class)
    mask = rows(batch, torch.ones(len(batch.targets)))
    accelerator = SimpleNamespace(num_processes=1, gather=lambda x: x, reduce=lambda x, reduction: x, sync_gradients=True)
    attributes = {
        "accelerator": accelerator,
        "args": SimpleNamespace(delta=None, use_bias_correction_kl=False, steps_per_generation=1),
        "model": SimpleNamespace(training=True),
        "aux_loss_enabled": False,
        "top_entropy_quantile": 1.0,
        "off_policy_mask_threshold": None,
        "importance_sampling_level": "token",
        "beta": 0.0,
        "epsilon_low": LOW,
        "epsilon_high": HIGH,
        "use_vllm": False,
        "current_gradient_accumulation_steps": 1,
        "max_completion_length": MAX_TOKENS,
        "_entropy_bonus_enabled": False,
        "_metrics": {"train": defaultdict(list)},
        "_get_per_token_logps_and_entropies": lambda *_, **__: (rows(batch, logprobs), torch.zeros_like(mask), None),
    }
    for name, value in {**attributes, **settings}.items():
        setattr(trainer, name, value)
    inputs = {
        "prompt_ids": torch.zeros(len(mask), 1, dtype=torch.int64),
        "prompt_mask": torch.ones(len(mask), 1),
        "completion_ids": torch.zeros(mask.shape, dtype=torch.int64),
        "completion_mask": mask,
        "advantages": torch.stack([batch.advantages[batch.rollout == r][0] for r in range(len(mask))]),
        "old_per_token_logps": rows(batch, batch.old_logprobs),
        "num_items_in_batch": mask.sum(),
    }
    if batch.reference_logprobs is not None:
        inputs["ref_per_token_logps"] = rows(batch, batch.reference_logprobs)
    return trainer._compute_loss(None, inputs)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("ours", "aggregation", "theirs"),
    [
        ({}, "sequence", {"loss_type": "grpo"}),
        ({}, "token", {"loss_type": "bnpo"}),
        ({}, "global_token", {"loss_type": "dapo"}),
        ({}, "constant", {"loss_type": "dr_grpo"}),
        ({"policy_loss": "gspo"}, "sequence", {"loss_type": "grpo", "importance_sampling_level": "sequence"}),
        # TRL bounds the ratio from above only, by epsilon_high itself.
        ({"policy_loss": "cispo", "clip_low": 1.0}, "global_token", {"loss_type": "cispo", "epsilon_high": 1 + HIGH}),
        ({"kl_coef": 0.1, "kl_estimator": "k3"}, "sequence", {"loss_type": "grpo", "beta": 0.1}),
    ],
    ids=["grpo", "bnpo", "dapo", "dr_grpo", "gspo", "cispo", "kl"],
)
def test_loss_and_gradient_are_those_of_trl(
    grpo_trainer: Any, ours: dict[str, Any], aggregation: str, theirs: dict[str, Any], seed: int
) -> None:
    batch = batch_of(random_samples(seed), aggregation)
    if "kl_coef" in ours:
        batch = replace(batch, reference_logprobs=policy_logprobs(batch, seed + 1).detach())
    logprobs = policy_logprobs(batch, seed)
    loss, _ = micro_batch_loss(logprobs, batch, AlgoConfig(**{"clip_low": LOW, "clip_high": HIGH} | ours))
    expected = trl_loss(grpo_trainer, batch, logprobs, **theirs)
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=1e-6)
    (found,), (wanted,) = torch.autograd.grad(loss, logprobs), torch.autograd.grad(expected, logprobs)
    torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-6)
    assert wanted.any()
