"""The adapter learns, the base does not, and what is published and exported computes what the learner does."""

from __future__ import annotations

from pathlib import Path

import peft
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel

from learner.adapter import Adapter
from learner.gather import GatheredWeights
from learner.policy import Policy
from learner.publish import ADAPTER, Publisher
from tandem.config.learner import LoraConfig
from tests.learner.test_policy import FAMILIES, VOCABULARY, forward
from tests.support.builders import small_tokenizer

pytestmark = pytest.mark.seconds


def save_base(family: str, folder: Path) -> str:
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(FAMILIES[family]).save_pretrained(folder)
    small_tokenizer().save_pretrained(folder)
    return str(folder)


def adapted_policy(
    path: str,
    dtype: torch.dtype = torch.float32,
    *,
    targets: list[str] | None = None,
    trained: bool = True,
    gradient_checkpointing: bool = False,
) -> tuple[Policy, Adapter]:
    """Return a policy with an adapter that changes much, as if it were trained."""
    lora = LoraConfig(rank=3, alpha=6, targets=targets or [])
    policy = Policy(
        path, dtype=dtype, temperature=1.0, chunk=16, lora=lora, seed=1, gradient_checkpointing=gradient_checkpointing
    )
    assert policy.adapter is not None
    if trained:
        torch.manual_seed(2)
        for parameter in policy.adapter.named_parameters().values():
            torch.nn.init.normal_(parameter, std=0.5)
    return policy, policy.adapter


@torch.no_grad()
def plain_logprobs(model: PreTrainedModel) -> Tensor:
    """Return what `forward` computes, by transformers and peft."""
    input_ids = torch.arange(2 * 12).reshape(2, 12) % VOCABULARY
    return model.eval()(input_ids).logits.log_softmax(-1).gather(2, ((input_ids + 1) % VOCABULARY)[..., None]).flatten()


@pytest.mark.parametrize("family", FAMILIES)
def test_exported_senior_computes_what_the_learner_does(family: str, tmp_path: Path) -> None:
    path = save_base(family, tmp_path / "base")
    policy, adapter = adapted_policy(path)
    expected = forward(policy).detach()
    assert (expected - plain_logprobs(AutoModelForCausalLM.from_pretrained(path))).abs().max() > 0.1

    publisher = Publisher(policy.model, tmp_path / "segment", adapter, bucket_bytes=1 << 12)
    publisher.export(tmp_path / "senior", path)
    publisher.export(tmp_path / "adapter", path, merged=False)
    publisher.close()
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "senior")
    torch.testing.assert_close(plain_logprobs(merged), expected, atol=1e-4, rtol=0)
    for folder in (tmp_path / "senior" / ADAPTER, tmp_path / "adapter"):
        alone = peft.PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(path), folder)
        torch.testing.assert_close(plain_logprobs(alone), expected, atol=1e-5, rtol=0)
    assert not (tmp_path / "adapter" / "model.safetensors").exists()
    assert load_file(tmp_path / "senior" / "model.safetensors").keys() == load_file(f"{path}/model.safetensors").keys()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_without_its_adapter_the_policy_is_the_base_bit_by_bit(dtype: torch.dtype, tmp_path: Path) -> None:
    path = save_base("qwen3", tmp_path)
    base = forward(Policy(path, dtype=dtype, temperature=1.0, chunk=16))
    assert torch.equal(forward(adapted_policy(path, dtype, trained=False)[0]), base)
    policy, adapter = adapted_policy(path, dtype)
    with_adapter = forward(policy)
    with adapter.off():
        assert torch.equal(forward(policy), base)
    assert torch.equal(forward(policy), with_adapter) and not torch.allclose(with_adapter, base)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_only_the_adapter_learns_in_float32(dtype: torch.dtype, tmp_path: Path) -> None:
    gradients = []
    for recomputes in (False, True):
        policy, adapter = adapted_policy(save_base("qwen3", tmp_path), dtype, gradient_checkpointing=recomputes)
        forward(policy).sum().backward()
        own = adapter.named_parameters()
        assert {p.dtype for p in adapter.base.values()} == {dtype} and {p.dtype for p in own.values()} == {torch.float32}
        assert not any(p.requires_grad for p in adapter.base.values())
        assert all(p.requires_grad and p.grad is not None and p.grad.any() for p in own.values())
        assert len(own) + len(adapter.base) == len(list(policy.parameters()))
        gradients.append({name: p.grad for name, p in own.items()})
    torch.testing.assert_close(gradients[0], gradients[1])


def test_only_the_layers_that_are_named_get_an_adapter(tmp_path: Path) -> None:
    path = save_base("qwen3", tmp_path)
    policy, adapter = adapted_policy(path, targets=["q_proj", "down_proj"])
    assert {name.split(".")[-3] for name in adapter.named_parameters()} == {"q_proj", "down_proj"}
    base = AutoModelForCausalLM.from_pretrained(path).state_dict()
    changed = {
        spec.name for spec, tensor in GatheredWeights(policy.model, 1 << 20, adapter) if (tensor != base[spec.name]).any()
    }
    assert changed == {name for name in base if "q_proj" in name or "down_proj" in name}


def test_the_first_weights_follow_from_the_seed(tmp_path: Path) -> None:
    path = save_base("qwen3", tmp_path)
    starts = [Policy(path, dtype=torch.float32, temperature=1.0, chunk=16, lora=LoraConfig(rank=2), seed=s) for s in (1, 1, 2)]
    a, b, c = (torch.cat([p.flatten() for p in start.parameters() if p.requires_grad]) for start in starts)
    assert torch.equal(a, b) and not torch.equal(a, c)
