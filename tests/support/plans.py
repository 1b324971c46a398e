"""A model and a configuration whose plans are tested."""

from __future__ import annotations

from functools import cache

from launch.entry import configuration
from tandem.config.schema import Config
from tandem.models.qwen3 import QWEN3_SHAPES
from tandem.plan.sizes import ModelSize

AWAKE = ("rollout.max_staleness=1", "rollout.sleep=false")
FOUR_BILLION = ModelSize(
    parameters=4_022_468_096,
    layers=36,
    hidden=2560,
    vocabulary=151_936,
    kv_values=2 * 36 * 8 * 128,
    sequence_splits=(1, 2, 4, 8, 16, 32),
)
EIGHT_BILLION = f"model.shape={{{','.join(f'{key}:{value}' for key, value in QWEN3_SHAPES['8B'].items())}}}"
"""The override with the shape of a model with eight billion parameters."""


@cache
def four_billion() -> Config:
    """The configuration of a run of a model with four billion parameters."""
    return configuration(["model=qwen3_4b", "data=jsonl", "data.path=x"])
