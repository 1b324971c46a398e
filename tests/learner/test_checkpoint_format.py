"""Tests that published and exported weights have the names and tensors of the checkpoint."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, GPT2Config, MixtralConfig, PreTrainedConfig, Qwen3Config, Qwen3MoeConfig

from learner.gather import GatheredWeights
from learner.publish import Publisher
from tests.support.builders import small_tokenizer

pytestmark = pytest.mark.seconds

SHAPE = {
    "vocab_size": 320,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 16,
    "intermediate_size": 48,
}
MODELS: dict[str, PreTrainedConfig] = {
    "qwen3": Qwen3Config(**SHAPE),
    "qwen3_moe": Qwen3MoeConfig(**SHAPE, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=16),
    "mixtral": MixtralConfig(**SHAPE, num_local_experts=4),
    "gpt2": GPT2Config(vocab_size=320, n_embd=32, n_layer=2, n_head=2),
}


@pytest.mark.parametrize("kind", MODELS)
def test_published_tensors_equal_those_of_checkpoint(kind: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(MODELS[kind]).save_pretrained(tmp_path / "base")
    small_tokenizer().save_pretrained(tmp_path / "base")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    saved = load_file(tmp_path / "base" / "model.safetensors")
    # The bucket is smaller than a tensor, so each tensor is gathered alone.
    gathered = {spec.name: (spec, tensor) for spec, tensor in GatheredWeights(model, 1 << 10)}
    assert gathered.keys() == saved.keys()
    for name, (spec, tensor) in gathered.items():
        assert spec.shape == tuple(tensor.shape) and torch.equal(tensor, saved[name]), name

    publisher = Publisher(model, tmp_path / "segment", bucket_bytes=1 << 20)
    publisher.export(tmp_path / "senior", str(tmp_path / "base"))
    publisher.close()
    exported = load_file(tmp_path / "senior" / "model.safetensors")
    assert exported.keys() == saved.keys() and all(torch.equal(exported[name], saved[name]) for name in saved)
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "senior")
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))


def test_inconsistent_generation_configuration_is_exported_unchanged(tmp_path: Path) -> None:
    AutoModelForCausalLM.from_config(MODELS["qwen3"]).save_pretrained(tmp_path / "base")
    small_tokenizer().save_pretrained(tmp_path / "base")
    given = {"temperature": 0.6, "top_p": 0.95, "eos_token_id": 1}  # without do_sample, as many models have it
    (tmp_path / "base" / "generation_config.json").write_text(json.dumps(given))
    publisher = Publisher(AutoModelForCausalLM.from_pretrained(tmp_path / "base"), tmp_path / "segment", bucket_bytes=1 << 20)
    publisher.export(tmp_path / "senior", str(tmp_path / "base"))
    publisher.close()
    exported = json.loads((tmp_path / "senior" / "generation_config.json").read_text())
    assert exported.items() >= given.items()
    AutoModelForCausalLM.from_pretrained(tmp_path / "senior")


def test_model_with_merged_tensors_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def joined(model: object, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {"joined": torch.cat([tensor.flatten() for tensor in tensors.values()])} if len(tensors) > 1 else tensors

    monkeypatch.setattr("learner.checkpoint_format.revert_weight_conversion", joined)
    with pytest.raises(ValueError, match="Qwen3ForCausalLM holds tensors of its checkpoint in several parameters"):
        GatheredWeights(AutoModelForCausalLM.from_config(MODELS["qwen3"]), 1 << 20)
