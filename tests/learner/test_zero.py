"""Tests of DeepSpeed's configuration."""

from __future__ import annotations

import pytest
from deepspeed.runtime.zero.config import DeepSpeedZeroConfig

from learner.zero import deepspeed_config
from tandem.config.learner import LearnerConfig

pytestmark = pytest.mark.engines


def test_offloaded_state_is_page_locked() -> None:
    """Copies between a GPU and other memory are slow and do not overlap with the backward pass."""
    config = LearnerConfig(zero_stage=3, offload_optimizer=True, offload_parameters=True)
    zero = DeepSpeedZeroConfig(**deepspeed_config(config)["zero_optimization"])
    for offloaded in (zero.offload_optimizer, zero.offload_param):
        assert offloaded is not None and offloaded.device == "cpu" and offloaded.pin_memory
