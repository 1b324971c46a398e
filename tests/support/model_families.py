"""A small random model of each supported family."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
import transformers as hf
from transformers import PretrainedConfig

from tests.support.builders import small_tokenizer

ROWS = 320
"""Number of tokens of `small_tokenizer`."""
SIZES = {
    "vocab_size": ROWS,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 2048,
}
TOKENS = {"bos_token_id": None, "eos_token_id": 1, "pad_token_id": 0}


def _sized(config_class: type[PretrainedConfig], **settings: object) -> PretrainedConfig:
    return config_class(**SIZES | TOKENS | settings)


FAMILIES: dict[str, Callable[[], PretrainedConfig]] = {
    "llama": partial(_sized, hf.LlamaConfig),
    "mistral, sliding window": partial(_sized, hf.MistralConfig, sliding_window=32),
    "qwen2, spare logits": partial(_sized, hf.Qwen2Config, vocab_size=ROWS + 64),
    "qwen3, no pad token": partial(_sized, hf.Qwen3Config, head_dim=32, pad_token_id=None),
    "phi3": partial(_sized, hf.Phi3Config),
    "qwen3 moe": partial(
        _sized, hf.Qwen3MoeConfig, head_dim=32, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=32
    ),
    "mixtral": partial(_sized, hf.MixtralConfig, num_local_experts=4, num_experts_per_tok=2),
    # vLLM's sliding window is one token longer than that of transformers.
    "cohere2": partial(_sized, hf.Cohere2Config, sliding_window=4096, logit_scale=0.5),
    "smollm3": partial(_sized, hf.SmolLM3Config),
    "olmo2": partial(_sized, hf.Olmo2Config),
    "granite": partial(_sized, hf.GraniteConfig, embedding_multiplier=2.0, residual_multiplier=0.5),
    "granite, scaled logits": partial(_sized, hf.GraniteConfig, logits_scaling=0.5),
    "cohere, scaled logits": partial(_sized, hf.CohereConfig, logit_scale=0.5),
    "gemma2, capped logits": partial(
        _sized,
        hf.Gemma2Config,
        head_dim=32,
        sliding_window=32,
        query_pre_attn_scalar=32,
        final_logit_softcapping=5.0,
        attn_logit_softcapping=2.0,
    ),
    "gptj, head with a bias": partial(
        hf.GPTJConfig, vocab_size=ROWS, n_embd=64, n_layer=2, n_head=2, n_positions=2048, rotary_dim=16, **TOKENS
    ),
    # GPT-NeoX has no such setting, but vLLM reads it from any configuration.
    "gpt_neox": partial(_sized, hf.GPTNeoXConfig, num_key_value_heads=2),
    "falcon": partial(_sized, hf.FalconConfig, new_decoder_architecture=True, num_kv_heads=1),
    "gemma3 text": partial(_sized, hf.Gemma3TextConfig, head_dim=32, sliding_window=32, query_pre_attn_scalar=32),
    "bloom, no longest text": partial(
        hf.BloomConfig, vocab_size=ROWS, hidden_size=64, n_layer=2, n_head=2, **TOKENS, hidden_dropout=0.0
    ),
    "stablelm": partial(_sized, hf.StableLmConfig, hidden_size=160, num_key_value_heads=2),
    "gpt2": partial(hf.GPT2Config, vocab_size=ROWS, n_embd=64, n_layer=2, n_head=2, n_positions=2048, **TOKENS),
    "opt": partial(_sized, hf.OPTConfig, ffn_dim=96, word_embed_proj_dim=64),
    "opt, projected embedding": partial(_sized, hf.OPTConfig, ffn_dim=96, word_embed_proj_dim=32, do_layer_norm_before=False),
}
"""The configuration of each family."""


def save_family(name: str, folder: Path) -> Path:
    """Write a random model of the family `name` with the tests' tokenizer to `folder`; its logits depend on the tokens."""
    torch.manual_seed(0)
    config = FAMILIES[name]()
    config.initializer_range = 0.2
    model = hf.AutoModelForCausalLM.from_config(config)
    # None of these may be applied: engines and learner would differ.
    model.generation_config = hf.GenerationConfig(
        do_sample=True, temperature=0.3, top_k=5, repetition_penalty=2.0, eos_token_id=1
    )
    model.save_pretrained(folder)
    tokenizer = small_tokenizer()
    if config.pad_token_id is None:
        tokenizer = tokenizer.__class__.from_pretrained(_saved(tokenizer, folder))
        tokenizer.pad_token = None
    tokenizer.save_pretrained(folder)
    return folder


def _saved(tokenizer: hf.PreTrainedTokenizerBase, folder: Path) -> Path:
    tokenizer.save_pretrained(folder)
    return folder
