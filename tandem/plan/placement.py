"""Which GPUs of which node each engine and each rank of the learner gets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tandem.config.schema import Config, ConfigError
from tandem.schedules import needs_junior


@dataclass(frozen=True)
class Node:
    """A machine, as far as a plan is concerned."""

    name: str
    gpus: int
    gpu_gib: float = 0.0
    """the memory of each of its GPUs; 0: unknown"""
    id: str = ""
    """Ray's, if it is a real one"""


@dataclass(frozen=True)
class Demand:
    """The GPUs that a run wants: those of each engine of a replica (the senior's first), how many replicas and ranks."""

    engines: tuple[int, ...]
    replicas: int
    ranks: int

    @property
    def replica(self) -> int:
        """The GPUs of one replica, which one process drives and which therefore lie on one node."""
        return sum(self.engines)

    @property
    def total(self) -> int:
        """All of them."""
        return self.replica * self.replicas + self.ranks

    def __str__(self) -> str:
        juniors = "".join(f" + junior {gpus}" for gpus in self.engines[1:])
        return f"{self.replicas} x (senior {self.engines[0]}{juniors}) for rollouts + {self.ranks} for the learner"


def demand(config: Config, *, learns: bool = True) -> Demand:
    """What `config` wants when every engine and, if the run `learns`, every rank has GPUs of its own.

    There are no ranks with `rollouts_only`, and no replicas with `learner_only`.
    """
    juniors = len(config.junior) * needs_junior(config)
    engines = (config.rollout.senior_tensor_parallel, *[config.rollout.junior_tensor_parallel] * juniors)
    replicas = 0 if config.learner_only else config.rollout.replicas
    return Demand(engines, replicas, config.learner.ranks if learns and not config.rollouts_only else 0)


@dataclass(frozen=True)
class Slot:
    """One engine or one rank, and where it is."""

    role: str
    """`senior`, `junior` or `learner`"""
    owner: int
    """the engine's replica, or the rank"""
    node: int
    gpus: tuple[int, ...]
    """as the node counts its own"""


def place(demand: Demand, nodes: Sequence[Node]) -> list[Slot]:
    """A slot for every engine, replica by replica, and then for every rank; no GPU is given twice.

    A replica's engines share a node. Replicas fill one node after the other, so that the ranks have as few nodes as possible.
    Raises `ConfigError` saying what is missing.
    """
    room = [node.gpus // demand.replica for node in nodes]
    if missing := _missing(demand, nodes):
        raise ConfigError(missing)
    slots: list[Slot] = []
    taken = [0] * len(nodes)

    def take(role: str, owner: int, node: int, gpus: int) -> None:
        slots.append(Slot(role, owner, node, tuple(range(taken[node], taken[node] + gpus))))
        taken[node] += gpus

    # A node whose GPUs a number of replicas uses up is of no use to the learner: such nodes first.
    order = sorted(range(len(nodes)), key=lambda node: (nodes[node].gpus % demand.replica, -nodes[node].gpus))
    homes = [node for node in order for _ in range(room[node])][: demand.replicas]
    for replica, node in enumerate(homes):
        for place_, gpus in enumerate(demand.engines):
            take("junior" if place_ else "senior", replica, node, gpus)
    free = sorted(range(len(nodes)), key=lambda node: taken[node] - nodes[node].gpus)
    placements = [node for node in free for _ in range(nodes[node].gpus - taken[node])]
    for rank in range(demand.ranks):
        take("learner", rank, placements[rank], 1)
    return slots


def most_replicas(demand: Demand, nodes: Sequence[Node]) -> int:
    """How many replicas could be placed beside the ranks."""
    room = sum(node.gpus // demand.replica for node in nodes)
    return max(0, min(room, (sum(node.gpus for node in nodes) - demand.ranks) // demand.replica))


def _missing(demand: Demand, nodes: Sequence[Node]) -> str:
    """What keeps `demand` from being met, and what could be done; empty if nothing does."""
    total, largest = sum(node.gpus for node in nodes), max((node.gpus for node in nodes), default=0)
    here = f"{len(nodes)} node(s) with {' + '.join(str(node.gpus) for node in nodes) or 'no'} GPUs"
    if demand.total > total:
        return (
            f"mode.name=cluster: {demand.total - total} GPU(s) are missing: the run wants {demand.total} ({demand}), there "
            f"are {here}, and beside the learner that is enough for {most_replicas(demand, nodes)} replica(s); use fewer "
            "replicas or ranks, add nodes, or choose mode=local, where all share one GPU"
        )
    if demand.replica > largest:
        return (
            f"rollout.senior_tensor_parallel={demand.engines[0]}: the engines of a replica lie on one node and want "
            f"{demand.replica} GPUs of it; the largest of {here} has {largest}; use smaller tensor_parallel sizes"
        )
    if demand.replicas > (most := most_replicas(demand, nodes)):
        return (
            f"rollout.replicas={demand.replicas}: each wants {demand.replica} GPUs of one node, and {here} have room for "
            f"{most}; use fewer replicas, or tensor_parallel sizes that divide a node"
        )
    return ""


def spread(demand: Demand, nodes: Sequence[Node]) -> list[Slot]:
    """Slots on nodes without GPUs: replicas on the nodes in turn, ranks together on the first, since they talk most.

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
    """Slots on the `gpus` of one node when `claims_per_gpu` replicas or ranks share each: all engines of a replica one GPU.

    Ranks are placed first, as they are started first: so does Ray, which fills one GPU before it begins another.
    """
    engines = [
        Slot("junior" if index else "senior", replica, 0, ((demand.ranks + replica) // claims_per_gpu,))
        for replica in range(demand.replicas)
        for index in range(len(demand.engines))
    ]
    slots = engines + [Slot("learner", rank, 0, (rank // claims_per_gpu,)) for rank in range(demand.ranks)]
    assert all(gpu < gpus for slot in slots for gpu in slot.gpus)
    return slots
