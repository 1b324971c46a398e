"""Under ZeRO-3 no rank holds the whole model while it loads."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

from tests.support.learner_ranks import Ranks, tiny_config

pytestmark = pytest.mark.engines

LAYERS = {"num_hidden_layers": 16, "hidden_size": 512, "intermediate_size": 1536}
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 128}


@pytest.fixture(scope="module")
def many_layers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of about 200 MB with small matrices."""
    folder = tmp_path_factory.mktemp("many_layers")
    torch.manual_seed(0)
    Qwen3ForCausalLM(Qwen3Config(vocab_size=2000, **LAYERS, **HEADS)).save_pretrained(folder)
    return folder


def test_rank_loads_its_share(ranks: dict[int, Ranks], many_layers: Path) -> None:
    size = (many_layers / "model.safetensors").stat().st_size
    config = tiny_config(zero_stage=3, ranks=2)
    ranks[2]("peak_while_loading", config, str(many_layers))  # libraries allocate memory of their own the first time
    # Without partitioning a rank maps the file, and allocates nothing until the optimizer copies all of it.
    assert 0.4 < ranks[2]("peak_while_loading", config, str(many_layers)) / size < 0.7
