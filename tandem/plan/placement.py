"""The assignment of engines and ranks to GPUs of nodes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tandem.config.schema import Config, ConfigError
from tandem.plan.engines import junior_engines


@dataclass(frozen=True)
class Node:
    """A machine of the cluster."""

    name: str
    gpus: int
    gpu_gib: float = 0.0
    """the memory of each of its GPUs; 0: unknown"""
    id: str = ""
    """Ray's id, if the node exists"""


@dataclass(frozen=True)
class Demand:
    """The GPUs that a run needs: per engine of a replica (the senior's first), and how many replicas and ranks."""

    engines: tuple[int, ...]
    replicas: int
    ranks: int

    @property
    def replica(self) -> int:
        """Return the GPUs of one replica. They are on one node, because one process drives them."""
        return sum(self.engines)

    @property
    def total(self) -> int:
        """Return all GPUs."""
        return self.replica * self.replicas + self.ranks

    def __str__(self) -> str:
        juniors = "".join(f" + junior {gpus}" for gpus in self.engines[1:])
        learner = f" + {self.ranks} for the learner" if self.ranks else ""
        return f"{self.replicas} x (senior {self.engines[0]}{juniors}) for rollouts{learner}"


def demand(config: Config, *, learns: bool = True) -> Demand:
    """Return the demand of `config` when no engine and, if the run `learns`, no rank shares its GPUs.

    There are no ranks with `rollouts_only`, and no replicas with `learner_only`.
    """
    juniors = [config.rollout.junior_tensor_parallel] * junior_engines(config)
    engines = (config.rollout.senior_tensor_parallel, *juniors)
    replicas = 0 if config.learner_only else config.rollout.replicas
    return Demand(engines, replicas, config.learner.ranks if learns and not config.rollouts_only else 0)


@dataclass(frozen=True)
class Slot:
    """One engine or one rank, and its place."""

    role: str
    """`senior`, `junior` or `learner`"""
    owner: int
    """the engine's replica, or the rank"""
    node: int
    gpus: tuple[int, ...]
    """indices within the node"""


def place(demand: Demand, nodes: Sequence[Node]) -> list[Slot]:
    """Return a slot for every engine, replica by replica, and then for every rank; no GPU is in two slots.

    A replica's engines are on one node. Replicas fill one node after the other, so that the ranks use as few nodes as possible.
    Raises `ConfigError` that names what is missing.
    """
    room = [node.gpus // demand.replica for node in nodes]
    if missing := _missing(demand, nodes):
        raise ConfigError(missing)
    slots: list[Slot] = []
    used = [0] * len(nodes)

    def take(role: str, owner: int, node: int, gpus: int) -> None:
        slots.append(Slot(role, owner, node, tuple(range(used[node], used[node] + gpus))))
        used[node] += gpus

    # First the nodes that replicas fill completely: they leave no GPU for the learner.
    order = sorted(range(len(nodes)), key=lambda node: (nodes[node].gpus % demand.replica, -nodes[node].gpus))
    homes = [node for node in order for _ in range(room[node])][: demand.replicas]
    for replica, node in enumerate(homes):
        for place_, gpus in enumerate(demand.engines):
            take("junior" if place_ else "senior", replica, node, gpus)
    free = sorted(range(len(nodes)), key=lambda node: used[node] - nodes[node].gpus)
    placements = [node for node in free for _ in range(nodes[node].gpus - used[node])]
    for rank in range(demand.ranks):
        take("learner", rank, placements[rank], 1)
    return slots


def most_replicas(demand: Demand, nodes: Sequence[Node]) -> int:
    """Return how many replicas fit beside the ranks."""
    room = sum(node.gpus // demand.replica for node in nodes)
    return max(0, min(room, (sum(node.gpus for node in nodes) - demand.ranks) // demand.replica))


def _missing(demand: Demand, nodes: Sequence[Node]) -> str:
    """Return why `demand` cannot be met, with the remedy; empty if it can."""
    total, largest = sum(node.gpus for node in nodes), max((node.gpus for node in nodes), default=0)
    here = f"{len(nodes)} node(s) with {' + '.join(str(node.gpus) for node in nodes) or 'no'} GPUs"
    if demand.total > total:
        remedies = [f"use fewer replicas{' or ranks' * (demand.ranks > 0)}", "add nodes"]
        if _can_share(demand, nodes):
            remedies.append("choose mode=local, where all share one GPU")
        return (
            f"mode.name=cluster: {demand.total - total} GPU(s) are missing: the run needs {demand.total} ({demand}), there "
            f"are {here}, {'and with the learner this' if demand.ranks else 'which'} is enough for "
            f"{most_replicas(demand, nodes)} replica(s); {', or '.join([', '.join(remedies[:-1]), remedies[-1]])}"
        )
    if demand.replica > largest:
        return (
            f"rollout.senior_tensor_parallel={demand.engines[0]}: the engines of a replica share a node and need "
            f"{demand.replica} of its GPUs; the largest of {here} has {largest}; use smaller tensor_parallel sizes"
        )
    if demand.replicas > (most := most_replicas(demand, nodes)):
        return (
            f"rollout.replicas={demand.replicas}: each needs {demand.replica} GPUs of one node, and {here} have room for "
            f"{most}; use fewer replicas, or tensor_parallel sizes that divide a node"
        )
    return ""


def claims_per_gpu(demand: Demand, gpus: int) -> int:
    """Return how many replicas and ranks share a GPU when all of them share `gpus` GPUs.

    Raises `ConfigError` when several ranks would share a GPU, and when an engine needs several GPUs.
    """
    for role, wanted in zip(("senior", "junior"), demand.engines, strict=False):
        if wanted > 1:
            raise ConfigError(
                f"rollout.{role}_tensor_parallel={wanted}: with mode=local the engines of a replica share one GPU; choose "
                "mode=cluster"
            )
    claims = demand.replicas + demand.ranks
    each = math.ceil(claims / gpus)  # a share is on one GPU
    if each > 1 and demand.ranks > 1:
        raise ConfigError(
            f"learner.ranks={demand.ranks}: {gpus} GPUs are too few for {claims} replicas and ranks, and NCCL lets no "
            "two ranks share one; use learner.ranks=1 or fewer replicas"
        )
    return each


def _can_share(demand: Demand, nodes: Sequence[Node]) -> bool:
    """Whether `nodes` are one machine, whose GPUs the parts of a run can share."""
    if len(nodes) != 1 or not nodes[0].gpus:
        return False
    try:
        claims_per_gpu(demand, nodes[0].gpus)
    except ConfigError:
        return False
    return True


def spread(demand: Demand, nodes: Sequence[Node]) -> list[Slot]:
    """Return slots on nodes without GPUs: replicas on the nodes in turn, ranks together on the first node.

    Engines and ranks share the cores of their node. Raises `ConfigError` when there is no node.
    """
    if not nodes:
        raise ConfigError("mode.name=cluster: the cluster has no node that is alive")
    engines = [
        Slot("junior" if index else "senior", replica, replica % len(nodes), ())
        for replica in range(demand.replicas)
        for index in range(len(demand.engines))
    ]
    return engines + [Slot("learner", rank, 0, ()) for rank in range(demand.ranks)]


def share_out(demand: Demand, gpus: int, claims_per_gpu: int) -> list[Slot]:
    """Return slots on the `gpus` of one node when `claims_per_gpu` replicas or ranks share each GPU.

    All engines of a replica use one GPU. Ranks get the first GPUs: they start first, and Ray fills one GPU after the other.
    """
    engines = [
        Slot("junior" if index else "senior", replica, 0, ((demand.ranks + replica) // claims_per_gpu,))
        for replica in range(demand.replicas)
        for index in range(len(demand.engines))
    ]
    slots = engines + [Slot("learner", rank, 0, (rank // claims_per_gpu,)) for rank in range(demand.ranks)]
    assert all(gpu < gpus for slot in slots for gpu in slot.gpus)
    return slots
