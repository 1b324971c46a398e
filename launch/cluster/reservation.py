"""Reserve the planned resources on the planned nodes with a Ray placement group."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import ray
from ray.util.placement_group import placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from actors.engine_layout import Cores, share_of_cores
from launch.cluster.nodes import NodeFacts, check_shared, inspected
from tandem.authors import Authors
from tandem.config.schema import ConfigError
from tandem.plan.run_plan import RunPlan

RESERVE_TIMEOUT_S = 60.0
"""Seconds that Ray may take to reserve free resources."""
CPU_SHARE = 0.001
"""The CPUs that a bundle without GPUs reserves: almost none, since cores are shared."""


@dataclass(frozen=True)
class Placements:
    """The placement of each replica and each rank; empty if Ray may choose."""

    replicas: Sequence[PlacementGroupSchedulingStrategy] = ()
    ranks: Sequence[PlacementGroupSchedulingStrategy] = ()
    engine_cores: Cores = ()
    """the cores of each engine"""


@contextmanager
def reserve_placements(
    plan: RunPlan, authors: Authors, cores: int, *, shares_memory: bool, run_folder: Path | None = None
) -> Iterator[Placements]:
    """Reserve a bundle for every replica and every rank, each on its node, during the block.

    Engines on CPUs are bound to at most `cores` of each machine (0: all). Raises `ConfigError` when other jobs use the
    planned resources, and when a node lacks the authors' models, this machine's shared memory, if `shares_memory`, or the
    run's folder, if a rank is on it.
    """
    if plan.mode == "local":
        yield Placements()
        return
    facts = inspected(plan.nodes, [authors.senior, *(junior.path for junior in authors.juniors)], shares_memory=shares_memory)
    if run_folder:
        check_shared(dict.fromkeys(plan.home("learner", rank) for rank in range(plan.demand.ranks)), run_folder)
    counts = {"senior": plan.demand.replicas, "learner": plan.demand.ranks}
    owners = [(role, owner) for role, count in counts.items() for owner in range(count)]
    gpus = {"senior": plan.gpus_per_replica, "learner": plan.gpus_per_rank}
    bundles = [{"GPU": gpus[role]} if plan.on_gpus else {"CPU": CPU_SHARE} for role, _ in owners]
    homes = [{"ray.io/node-id": plan.home(role, owner).id} for role, owner in owners]
    group = placement_group(bundles, strategy="PACK", bundle_label_selector=homes)
    try:
        if not group.wait(RESERVE_TIMEOUT_S):
            raise ConfigError(_taken(plan))
        placements = [PlacementGroupSchedulingStrategy(group, index) for index in range(len(bundles))]
        replicas = plan.demand.replicas
        yield Placements(placements[:replicas], placements[replicas:], () if plan.on_gpus else engine_cores(plan, facts, cores))
    finally:
        remove_placement_group(group)


def _taken(plan: RunPlan) -> str:
    kind, required = (
        ("GPU", plan.demand.total) if plan.on_gpus else ("CPU", CPU_SHARE * (plan.demand.replicas + plan.demand.ranks))
    )
    free = ray.available_resources().get(kind, 0)
    return (
        f"mode.name=cluster: the run needs {required:g} {kind}s as planned, and Ray did not reserve them within "
        f"{RESERVE_TIMEOUT_S:g} s: {free:g} are free; wait for other jobs to end (ray job list), or use fewer"
    )


def engine_cores(plan: RunPlan, facts: Sequence[NodeFacts], limit: int) -> Cores:
    """Return the cores of each engine, replica by replica, from at most `limit` cores of its machine (0: all).

    Nodes of one machine have the same cores, which all their engines divide.
    """
    machines = [facts[slot.node].machine for slot in plan.slots if slot.role != "learner"]
    cores = {fact.machine: fact.cores[: limit or None] for fact in facts}
    return [
        share_of_cores(cores[machine], machines[:index].count(machine), machines.count(machine))
        for index, machine in enumerate(machines)
    ]
