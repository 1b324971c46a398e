"""Tests that the learner disables dropout and other noise of training mode."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    BloomConfig,
    FalconConfig,
    GPT2Config,
    GPTNeoXConfig,
    MixtralConfig,
    OPTConfig,
    PreTrainedConfig,
    Qwen3Config,
)

from learner.policy import Policy

pytestmark = pytest.mark.seconds

VOCABULARY = 60
WIDTH: dict[str, Any] = {"vocab_size": VOCABULARY, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4}
FAMILIES: dict[str, PreTrainedConfig] = {
    "gpt2": GPT2Config(vocab_size=VOCABULARY, n_embd=32, n_layer=3, n_head=4, resid_pdrop=0.3, embd_pdrop=0.3, attn_pdrop=0.3),
    "opt": OPTConfig(
        **WIDTH,
        ffn_dim=64,
        word_embed_proj_dim=32,
        dropout=0.3,
        attention_dropout=0.3,
        layerdrop=0.3,
        max_position_embeddings=64,
    ),
    "falcon": FalconConfig(**WIDTH, hidden_dropout=0.3, attention_dropout=0.3),
    "gpt_neox": GPTNeoXConfig(**WIDTH, intermediate_size=64, hidden_dropout=0.3, attention_dropout=0.3),
    "bloom": BloomConfig(vocab_size=VOCABULARY, hidden_size=32, n_layer=3, n_head=4, hidden_dropout=0.3, attention_dropout=0.3),
    "mixtral": MixtralConfig(
        **WIDTH,
        intermediate_size=32,
        num_key_value_heads=2,
        num_local_experts=4,
        attention_dropout=0.3,
        router_jitter_noise=0.3,
    ),
    "qwen3": Qwen3Config(**WIDTH, intermediate_size=64, num_key_value_heads=2, head_dim=8, attention_dropout=0.3),
}


def forward(policy: Policy) -> Tensor:
    input_ids = torch.arange(2 * 12).reshape(2, 12) % VOCABULARY
    positions, targets = torch.arange(2 * 12), (torch.arange(2 * 12) + 1) % VOCABULARY
    logprobs, _ = policy(input_ids, positions, targets)
    return logprobs


@pytest.mark.parametrize("family", FAMILIES)
def test_learner_logprobs_equal_model_in_evaluation_mode(family: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(FAMILIES[family]).eval()
    model.save_pretrained(tmp_path)
    with torch.no_grad():
        input_ids = torch.arange(2 * 12).reshape(2, 12) % VOCABULARY
        expected = model(input_ids).logits.log_softmax(-1).gather(2, ((input_ids + 1) % VOCABULARY)[..., None]).flatten()
    gradients = []
    for recomputes in (False, True):
        policy = Policy(
            str(tmp_path),
            dtype=torch.float32,
            temperature=1.0,
            chunk=16,
            gradient_checkpointing=recomputes,
        )
        layers = policy.model.base_model.config.num_hidden_layers
        with patch("torch.utils.checkpoint._checkpoint_without_reentrant_generator", wraps=_GENERATOR) as recomputed:
            for _ in range(2):
                logprobs = forward(policy)
                torch.testing.assert_close(logprobs, expected, atol=1e-5, rtol=0)
                logprobs.sum().backward()
        assert recomputed.call_count == (2 * layers if recomputes else 0)
        gradients.append({name: parameter.grad for name, parameter in policy.named_parameters()})
    torch.testing.assert_close(gradients[0], gradients[1])


_GENERATOR = torch.utils.checkpoint._checkpoint_without_reentrant_generator
