"""Plan a run for the GPUs of this machine or cluster, or for assumed GPUs, and print the plan as a table."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

import torch
from rich.console import Console

from launch.cluster.environment import in_submitted_job
from launch.cluster.nodes import cluster_nodes, connected, gpu_gib
from launch.packages import has_cpu_engines
from launch.text_tables import terminal_table
from tandem.config.schema import Config, ConfigError
from tandem.plan.placement import Node, Slot, most_replicas
from tandem.plan.run_plan import RunPlan, cluster_plan, local_plan
from tandem.plan.sizes import model_sizes
from tandem.runtime.units import GIB


def assumed_plan(config: Config) -> RunPlan:
    """Return the plan for `cluster.gpus` assumed GPUs, without looking for real ones. Raises `ConfigError`."""
    cluster = config.cluster
    if config.mode.name == "cluster":
        full, rest = divmod(cluster.gpus, cluster.gpus_per_node)
        counts = [cluster.gpus_per_node] * full + [rest] * (rest > 0)
        nodes = [Node(f"node {index}", gpus, cluster.gpu_gib) for index, gpus in enumerate(counts)]
        return cluster_plan(config, nodes, model_sizes(config))
    return local_plan(config, Node("this machine", cluster.gpus, cluster.gpu_gib), model_sizes(config))


def run_plan(config: Config, *, learns: bool = True) -> RunPlan:
    """Return the plan for this machine, or for the Ray cluster that this process is connected to.

    It has ranks only if the run `learns`. Raises `ConfigError` if the GPUs do not suffice, as `cluster_plan` and `local_plan`.
    """
    nodes = cluster_nodes() if connected() else []
    gpus = sum(node.gpus for node in nodes)
    mode = config.mode.name
    if mode == "auto":
        mode = "cluster" if gpus and in_submitted_job() else "local"
    if mode == "local":
        if len(nodes) > 1:
            raise ConfigError(f"mode.name=local: the Ray cluster at RAY_ADDRESS has {len(nodes)} nodes; choose mode=cluster")
        return machine_plan(config, learns=learns)
    if not connected():
        raise ConfigError(
            "mode.name=cluster: there is no Ray cluster; submit the run (ray job submit), or name the cluster in RAY_ADDRESS"
        )
    if config.mode.device == "cuda" and not gpus:
        raise ConfigError("mode.device=cuda: no node of the Ray cluster has GPUs; choose mode.device=cpu")
    sizes = model_sizes(config) if gpus and config.mode.device != "cpu" else None
    return cluster_plan(config, nodes, sizes, learns=learns)


def machine_plan(config: Config, *, learns: bool = True) -> RunPlan:
    """Return the plan for this machine, with a learner if the run `learns`.

    Raises `ConfigError` if mode.device=cuda without a GPU, if there is no GPU and the installed vLLM has no CPU engine,
    and as `local_plan` does.
    """
    gpus = torch.cuda.device_count() if config.mode.device != "cpu" else 0
    if not gpus:
        if config.mode.device == "cuda":
            raise ConfigError("mode.device=cuda: there is no GPU that torch can use; choose mode.device=cpu")
        if not has_cpu_engines():
            raise ConfigError(
                f"mode.device={config.mode.device}: the installed vLLM runs on GPUs only; use requirements-cpu.txt"
            )
        return local_plan(config, Node("this machine", 0), None, learns=learns)
    # Torch is asked last: it would allocate memory of the GPU for this process.
    gib = gpu_gib() or min(torch.cuda.get_device_properties(index).total_memory for index in range(gpus)) / GIB
    return local_plan(config, Node("this machine", gpus, gib), model_sizes(config), learns=learns)


def print_plan(plan: RunPlan, console: Console) -> None:
    """Print the plan as a table, and the GPUs that it leaves unused."""

    def cells(slots: list[Slot]) -> list[str]:
        node = plan.nodes[slots[0].node]
        indices = [gpu for slot in slots for gpu in slot.gpus]
        return [node.name, _span(indices), _process(plan, slots), _memory(plan, slots[0].role, node.gpu_gib)]

    header = ("node", "GPUs" if plan.on_gpus else "", "process", "GiB on each GPU, estimated")
    console.print(terminal_table(header, map(cells, _rows(plan.slots)), title=f"mode={plan.mode}: {plan.demand}"))
    console.print(_idle(plan))
    if plan.engines_sleep:
        console.print("engines sleep during updates (rollout.sleep)")


def _idle(plan: RunPlan) -> str:
    """Return the number of idle GPUs as text, and the number of replicas that would use them."""
    if not plan.on_gpus:
        return "no GPU is used: engines and learner share the cores"
    total, used = sum(node.gpus for node in plan.nodes), len({(slot.node, gpu) for slot in plan.slots for gpu in slot.gpus})
    if used == total:
        return f"all {total} GPUs are used"
    most = most_replicas(plan.demand, plan.nodes)
    more = f"; there is room for rollout.replicas={most}" if plan.mode == "cluster" and most > plan.demand.replicas else ""
    return f"{total - used} of {total} GPUs are idle{more}"


def _rows(slots: tuple[Slot, ...]) -> Iterator[list[Slot]]:
    """Yield the slots of each row of the table: one engine, or all ranks on one node."""
    for (role, *_), same in groupby(
        slots, key=lambda slot: (slot.role, -1 if slot.role == "learner" else slot.owner, slot.node)
    ):
        if role == "junior":
            yield from ([slot] for slot in same)
        else:
            yield list(same)


def _process(plan: RunPlan, slots: list[Slot]) -> str:
    first, last = slots[0], slots[-1]
    if first.role == "learner":
        return f"learner rank {first.owner}" if first is last else f"learner ranks {first.owner}-{last.owner}"
    spread_over = f" over {len(first.gpus)} GPUs" if len(first.gpus) > 1 else ""
    writes_for = "both authors" if plan.memory and plan.memory.senior.shared else first.role
    return f"replica {first.owner}: {writes_for}{spread_over}"


def _span(indices: list[int]) -> str:
    if not indices:
        return ""
    return str(indices[0]) if len(set(indices)) == 1 else f"{min(indices)}-{max(indices)}"


def _memory(plan: RunPlan, role: str, gpu_gib: float) -> str:
    if plan.memory is None:
        return ""
    if role == "learner":
        rank = plan.memory.rank
        named = ("weights", "gradients", "optimizer", "buffers", "activations")
        parts = ", ".join(f"{name} {gib:.1f}" for name in named if (gib := getattr(rank, name)) or name != "buffers")
        between_updates = f"; {rank.between_updates:.1f} between updates" if plan.engines_sleep else ""
        return f"{rank.total:.1f}: {parts}{between_updates}"
    engine = plan.memory.senior if role == "senior" else max(plan.memory.juniors, key=lambda junior: junior.least)
    assert plan.fractions is not None
    if not gpu_gib:
        return f"at least {engine.least:.1f}"
    given = plan.fractions.of(role) * gpu_gib
    share = f"{given:.1f} ({plan.fractions.of(role):.3f})"
    return f"{share}: weights {engine.weights:.1f}, KV cache of {engine.texts(given)} full texts"
