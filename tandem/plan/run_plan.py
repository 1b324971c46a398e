"""The plan of a run: every engine and every rank has its place, and all of them fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from tandem.config.schema import Config, ConfigError
from tandem.plan.engines import with_engines
from tandem.plan.fit import DoesNotFit, Fractions, Memory, fractions_alone, memory
from tandem.plan.placement import Demand, Node, Slot, claims_per_gpu, demand, place, share_out, spread
from tandem.plan.remedies import remedy
from tandem.plan.sharing import engines_sleep, shared_fractions
from tandem.plan.sizes import Sizes
from tandem.runtime.weights import IPC, NCCL, SHM


@dataclass(frozen=True)
class RunPlan:
    """The place of every engine and rank, and their memory."""

    mode: str
    """`local` or `cluster`"""
    nodes: tuple[Node, ...]
    demand: Demand
    slots: tuple[Slot, ...]
    fractions: Fractions | None = None
    """the share of its GPUs that an engine takes; None on the CPU, and without engines"""
    memory: Memory | None = None
    """estimates; None on the CPU"""
    claims_per_gpu: int = 1
    """replicas and ranks that share a GPU"""
    engines_sleep: bool = False
    """whether engines release their GPU memory during updates"""

    @property
    def on_gpus(self) -> bool:
        """Whether engines and ranks run on GPUs."""
        return any(slot.gpus for slot in self.slots)

    @property
    def shares_cores(self) -> bool:
        """Whether engines and ranks share the cores of this machine, without placements."""
        return self.mode == "local" and not self.on_gpus

    @property
    def gpus_per_rank(self) -> float:
        """Return the GPUs that Ray reserves for a rank; 0 on the CPU."""
        return 1 / self.claims_per_gpu if self.on_gpus else 0.0

    @property
    def gpus_per_replica(self) -> float:
        """Return the GPUs that Ray reserves for a replica; 0 on the CPU."""
        return self.gpus_per_rank * (self.demand.replica if self.mode == "cluster" else 1)

    def home(self, role: str, owner: int) -> Node:
        """Return the node of a replica (role `senior`) or a rank (`learner`)."""
        return next(self.nodes[slot.node] for slot in self.slots if (slot.role, slot.owner) == (role, owner))

    def transport(self, config: Config) -> str:
        """Return the transport of weights for `config`: of an adapter alone shared memory, else as `learner.transport` says.

        NCCL requires that no two processes share a GPU, CUDA IPC that they do. In mixed cases `auto` uses shared memory. Raises
        `ConfigError` if the transport asked for is not possible.
        """
        requested = SHM if config.learner.lora.sent_alone else config.learner.transport
        if not self.on_gpus:
            fitting, why = SHM, "it needs GPUs, and there is none to use"
        elif self.claims_per_gpu == 1:
            fitting, why = NCCL, "every engine and rank has its own GPU"
        elif sum(node.gpus for node in self.nodes) == 1:
            fitting, why = IPC, "engines and learner share a GPU"
        else:
            fitting, why = SHM, "some engines share a GPU with others and some do not"
        if requested not in ("auto", SHM, fitting):
            raise ConfigError(f"learner.transport={requested}: {why}; choose auto or {fitting}")
        return fitting if requested == "auto" else requested


def cluster_plan(config: Config, nodes: Sequence[Node], sizes: Sizes | None, *, learns: bool = True) -> RunPlan:
    """Plan engines and ranks that share no GPUs; without `sizes` and GPUs, on the nodes' CPUs.

    There are no ranks unless the run `learns`. Raises `ConfigError` that names what is missing or does not fit, and the
    settings or GPUs that would make it fit.
    """
    try:
        return plan_on_cluster(config, nodes, sizes, learns=learns)
    except DoesNotFit as error:
        assert sizes is not None

        def fits(changed: Config, gpu_gib: float | None = None) -> bool:
            larger = [replace(node, gpu_gib=gpu_gib or node.gpu_gib) for node in nodes]
            return _works(partial(plan_on_cluster, learns=learns), changed, larger, sizes)

        smallest = min(node.gpu_gib for node in nodes if node.gpus)
        raise ConfigError(f"{error}; {remedy(config, fits, smallest, sizes.senior.sequence_splits)}") from error


def local_plan(config: Config, node: Node, sizes: Sizes | None, *, learns: bool = True) -> RunPlan:
    """Plan engines and ranks that share the GPUs of `node`; without `sizes` and GPUs, its cores.

    There are no ranks unless the run `learns`. Raises `ConfigError` that names what does not fit, and the settings or GPUs that
    would make it fit.
    """
    try:
        return plan_on_machine(config, node, sizes, learns=learns)
    except DoesNotFit as error:
        assert sizes is not None

        def fits(changed: Config, gpu_gib: float | None = None) -> bool:
            larger = replace(node, gpu_gib=gpu_gib or node.gpu_gib)
            return _works(partial(plan_on_machine, learns=learns), changed, larger, sizes)

        raise ConfigError(f"{error}; {remedy(config, fits, node.gpu_gib, sizes.senior.sequence_splits)}") from error


def _works(plan: Callable[..., RunPlan], *arguments: object) -> bool:
    """Whether `plan` accepts the arguments."""
    try:
        plan(*arguments)
    except ConfigError:
        return False
    return True


def plan_on_cluster(config: Config, nodes: Sequence[Node], sizes: Sizes | None, *, learns: bool = True) -> RunPlan:
    """Return the plan of `cluster_plan`. Raises `ConfigError` when GPUs are missing, `DoesNotFit` when memory is."""
    config = with_engines(config, gpus=sizes is not None, machines=len(nodes), learns=learns and not config.rollouts_only)
    required = demand(config, learns=learns)
    if sizes is None:
        return RunPlan("cluster", tuple(nodes), required, tuple(spread(required, nodes)))
    slots = place(required, nodes)
    used = {slot.node for slot in slots}
    smallest = min(nodes[node].gpu_gib for node in used)
    fractions = fractions_alone(config, sizes, smallest, learns=required.ranks > 0) if required.replicas else None
    return RunPlan("cluster", tuple(nodes), required, tuple(slots), fractions, memory(config, sizes))


def plan_on_machine(config: Config, node: Node, sizes: Sizes | None, *, learns: bool = True) -> RunPlan:
    """Return the plan of `local_plan`. Raises `ConfigError` for parts that cannot share a GPU, else `DoesNotFit`."""
    config = with_engines(config, gpus=sizes is not None, machines=1, learns=learns and not config.rollouts_only)
    required = demand(config, learns=learns)
    if sizes is None:
        return RunPlan("local", (node,), required, tuple(spread(required, [node])))
    each = claims_per_gpu(required, node.gpus)
    fractions = shared_fractions(config, required, node.gpus, node.gpu_gib, sizes) if required.replicas else None
    slots = tuple(share_out(required, node.gpus, each))
    sleep = engines_sleep(config, required, each)
    return RunPlan("local", (node,), required, slots, fractions, memory(config, sizes), each, sleep)


def planned(config: Config, plan: RunPlan) -> Config:
    """Return `config` with what `plan` chose: the mode, the engines and what they receive, and their shares of GPUs."""
    config = with_engines(config, gpus=plan.on_gpus, machines=len(plan.nodes), learns=plan.demand.ranks > 0)
    rollout = config.rollout
    if plan.fractions is not None:
        rollout = replace(rollout, gpu_memory_fraction=plan.fractions.senior)
        if rollout.engines != "shared":
            rollout = replace(rollout, junior_gpu_memory_fraction=plan.fractions.junior)
    return replace(config, mode=replace(config.mode, name=plan.mode), rollout=rollout)
