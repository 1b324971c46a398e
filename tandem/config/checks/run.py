"""Check where a run computes, and which parts of it run."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tandem.config.schema import Config

PARTIAL = ("rollouts_only", "learner_only")
"""The settings of runs that do not train, and write no checkpoint."""


def run_errors(config: Config) -> Iterator[str]:
    """Yield the errors in the settings of the run as a whole."""
    yield from _plan_errors(config)
    yield from _part_errors(config)
    if config.profile and config.profile_step > config.steps:
        yield f"profile_step={config.profile_step}: the run has steps={config.steps}; trace one of them"
    if config.log.wandb and not find_spec("wandb"):
        yield f"log.wandb={config.log.wandb}: the package wandb is not installed; `pip install wandb`, or leave it out"


def _plan_errors(config: Config) -> Iterator[str]:
    """Yield the errors in the settings of the GPUs that a plan assumes."""
    gpus = config.cluster.gpus
    if config.plan_only and config.mode.name == "cluster" and not gpus:
        yield "cluster.gpus=0: plan_only=true with mode=cluster plans for GPUs that need not exist; give their number"
    if gpus and not config.plan_only:
        yield f"cluster.gpus={gpus}: only a plan assumes GPUs; add plan_only=true, or leave it out"
    if gpus and config.mode.device == "cpu":
        yield f"cluster.gpus={gpus}: mode.device=cpu uses no GPU; leave one of them out"


def _part_errors(config: Config) -> Iterator[str]:
    """Yield the errors in the settings of a run without a learner or without engines."""
    if config.rollouts_only and config.learner_only:
        yield f"learner_only={config.learner_only}: rollouts_only=true starts no learner; choose one of them"
    for key in PARTIAL:
        if (value := getattr(config, key)) and config.resume:
            yield f"resume={config.resume}: {key}={value} writes no checkpoint to resume from; leave one of them out"
    if config.rollouts_only and config.rollout.max_staleness:
        yield (
            f"rollout.max_staleness={config.rollout.max_staleness}: with rollouts_only=true the weights never change, so no "
            "rollout becomes stale; set it to 0"
        )
    if config.learner_only and config.log.rollouts:
        yield f"log.rollouts=True: learner_only={config.learner_only} writes no rollouts; leave it out"
