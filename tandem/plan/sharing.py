"""How the parts of a run share one machine's GPUs (mode=local)."""

from __future__ import annotations

from tandem.config.schema import Config, ConfigError
from tandem.plan.engines import junior_engines
from tandem.plan.fit import Fractions, check_rank_alone, fractions_shared
from tandem.plan.placement import Demand, claims_per_gpu
from tandem.plan.sizes import Sizes


def beside_learner(demand: Demand, claims_per_gpu: int) -> int:
    """Return how many replicas share the GPU of the learner's rank."""
    return min(claims_per_gpu - 1, demand.replicas) if demand.ranks else 0


def engines_sleep(config: Config, demand: Demand, claims_per_gpu: int) -> bool:
    """Whether engines release their GPU memory during updates.

    They do with `rollout.sleep`, if some share the learner's GPU and none generates during updates.
    """
    return config.rollout.sleep and not config.rollout.max_staleness and beside_learner(demand, claims_per_gpu) > 0


def shared_fractions(config: Config, demand: Demand, gpus: int, gpu_gib: float, sizes: Sizes) -> Fractions:
    """Return the engines' shares of a GPU: those of `rollout`, or what `gpu_gib` leaves beside the learner.

    Raises `ConfigError` when the engines on one GPU need more memory than it has.
    """
    each = claims_per_gpu(demand, gpus)
    replicas = min(each, demand.replicas)
    senior = config.rollout.gpu_memory_fraction
    if senior:
        junior, juniors = config.rollout.junior_gpu_memory_fraction or senior, junior_engines(config)
        engines = replicas * (1 + juniors)
        if replicas * (senior + juniors * junior) >= 1:
            raise ConfigError(
                f"rollout.gpu_memory_fraction={senior}: up to {engines} engines share a GPU; give less than {1 / engines:.2f}, "
                "and leave memory for the learner; or 0, for as much as fits"
            )
        return Fractions(senior, junior)
    if alone := config.rollout.junior_gpu_memory_fraction:
        raise ConfigError(
            f"rollout.junior_gpu_memory_fraction={alone}: with mode=local the engines' shares are given together; give "
            "rollout.gpu_memory_fraction too, or 0 for as much as fits"
        )
    shares = [fractions_shared(config, sizes, gpu_gib, replicas, learner=False)]
    if beside := beside_learner(demand, each):
        sleep = engines_sleep(config, demand, each)
        shares.append(fractions_shared(config, sizes, gpu_gib, beside, learner=True, sleep=sleep))
    elif demand.ranks:
        check_rank_alone(config, sizes, gpu_gib)
    return min(shares, key=lambda share: share.senior)
