"""Write models of Qwen3's shapes and random weights, with the offline model's tokenizer.

`python -m launch.gpu_stages.random_models FOLDER` writes one to FOLDER/SIZE for each size.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, Qwen3Config

from launch.cluster.environment import set_environment
from launch.entry import configuration
from tandem.authors import load_authors

SHAPES = {
    "0.6B": {"hidden_size": 1024, "num_hidden_layers": 28, "num_attention_heads": 16, "intermediate_size": 3072},
    "1.7B": {"hidden_size": 2048, "num_hidden_layers": 28, "num_attention_heads": 16, "intermediate_size": 6144},
    "4B": {"hidden_size": 2560, "num_hidden_layers": 36, "num_attention_heads": 32, "intermediate_size": 9728},
}


def shape(size: str) -> Qwen3Config:
    """Return the configuration of the Qwen3 model of `size`."""
    return Qwen3Config(
        **SHAPES[size],
        vocab_size=151_936,
        num_key_value_heads=8,
        head_dim=128,
        max_position_embeddings=40_960,
        rope_theta=1_000_000.0,
        tie_word_embeddings=True,
    )


def main(folder: Path) -> None:
    """Write all models in bfloat16, and print the seconds of each."""
    config = configuration([])
    set_environment(config.cache_path)
    tokenizer, seconds = load_authors(config).tokenizer, {}
    device = "cuda" if torch.cuda.is_available() else "cpu"  # a CPU takes minutes to draw the weights
    for size in SHAPES:
        start = time.perf_counter()
        torch.manual_seed(0)
        with torch.device(device):
            model = AutoModelForCausalLM.from_config(shape(size), dtype=torch.bfloat16)
        model.save_pretrained(folder / size)
        tokenizer.save_pretrained(folder / size)
        seconds[f"{size}_s"] = round(time.perf_counter() - start, 1)
    print(json.dumps(seconds))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
