"""The engines of a replica: what a weight sync sends them, and whether one of them writes for both authors."""

from __future__ import annotations

from dataclasses import replace

from tandem.config.checks.rollout import given_junior_engine_settings
from tandem.config.schema import SELF, Config
from tandem.schedule import needs_junior


def junior_engines(config: Config) -> int:
    """Return the number of juniors' engines in a replica, where `with_engines` has decided."""
    return 0 if config.rollout.engines == "shared" else len(config.junior) * needs_junior(config)


def with_engines(config: Config, *, gpus: bool, machines: int, learns: bool) -> Config:
    """Return `config` with `learner.lora.sync` and `rollout.engines` decided; without an adapter they have no effect.

    They depend on whether the run uses GPUs, on how many machines, and on whether it learns.
    """
    lora, learner, engines = config.learner.lora, config.learner, config.rollout.engines
    if not lora.rank:
        return config
    sync = lora.sync if learns else "merged"
    if sync == "auto":
        # On CPUs, vLLM's engines write a fourth as fast with an adapter.
        fits = gpus and machines == 1 and learner.transport in ("auto", "shm")
        sync = "adapter" if fits or engines == "shared" else "merged"
    if engines == "auto":
        alone = config.junior == [SELF] and not config.junior_translation and not given_junior_engine_settings(config)
        engines = "shared" if gpus and alone and needs_junior(config) else "pair"
    return replace(
        config,
        learner=replace(learner, lora=replace(lora, sync=sync)),
        rollout=replace(config.rollout, engines=engines if sync == "adapter" else "pair"),
    )
