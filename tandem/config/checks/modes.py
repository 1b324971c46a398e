"""Which ways to run a part of a run, or to look into one, go together."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tandem.config.schema import Config


def mode_problems(config: Config) -> Iterator[str]:
    """Yield what is wrong with where and how much of the run is run."""
    if config.plan_only and config.mode.name == "cluster" and not config.cluster.gpus:
        yield "cluster.gpus=0: plan_only=true with mode=cluster plans for GPUs that need not be there; say how many"
    if config.cluster.gpus and not config.plan_only:
        yield f"cluster.gpus={config.cluster.gpus}: only a plan assumes GPUs; add plan_only=true, or leave it out"
    if config.cluster.gpus and config.mode.device == "cpu":
        yield f"cluster.gpus={config.cluster.gpus}: mode.device=cpu uses no GPU; leave one of them out"
    if config.rollouts_only and config.learner_only:
        yield f"learner_only={config.learner_only}: rollouts_only=true starts no learner; choose one of them"
    for key in ("rollouts_only", "learner_only"):
        if (value := getattr(config, key)) and config.resume:
            yield f"resume={config.resume}: {key}={value} writes no checkpoint to go on from; leave one of them out"
    if config.rollouts_only and config.rollout.max_staleness:
        yield (
            f"rollout.max_staleness={config.rollout.max_staleness}: with rollouts_only=true no weights change, and nothing "
            "becomes stale; set it to 0"
        )
    if config.learner_only and config.log.rollouts:
        yield f"log.rollouts=True: learner_only={config.learner_only} writes no rollouts; leave it out"
    if config.profile and config.profile_step > config.steps:
        yield f"profile_step={config.profile_step}: the run has steps={config.steps}; trace one of them"
    if config.log.wandb and not find_spec("wandb"):
        yield f"log.wandb={config.log.wandb}: the package wandb is not installed; `pip install wandb`, or leave it out"
