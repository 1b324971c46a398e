"""Write models of Qwen3's shapes and random weights, with the offline model's tokenizer.

`python -m launch.gpu_stages.random_models FOLDER` writes one to FOLDER/SIZE for each size.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

from launch.cluster.environment import set_environment
from launch.entry import configuration
from tandem.authors import load_authors
from tandem.models.qwen3 import qwen3_config

SIZES = ("0.6B", "1.7B", "4B")


def main(folder: Path) -> None:
    """Write all models in bfloat16, and print the seconds of each."""
    config = configuration([])
    set_environment(config.cache_path)
    tokenizer, seconds = load_authors(config).tokenizer, {}
    device = "cuda" if torch.cuda.is_available() else "cpu"  # a CPU takes minutes to draw the weights
    for size in SIZES:
        start = time.perf_counter()
        torch.manual_seed(0)
        with torch.device(device):
            model = AutoModelForCausalLM.from_config(qwen3_config(size), dtype=torch.bfloat16)
        model.save_pretrained(folder / size)
        tokenizer.save_pretrained(folder / size)
        seconds[f"{size}_s"] = round(time.perf_counter() - start, 1)
    print(json.dumps(seconds))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
