"""The nodes of a Ray cluster: the GPU memory, cores and machine of each, as measured on the node itself."""

from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import GetTimeoutError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from tandem.config.schema import ConfigError
from tandem.plan.placement import Node
from tandem.runtime.errors import RunError
from tandem.runtime.segment import SHARED_MEMORY

ANSWER_TIMEOUT_S = 120.0
"""Seconds that a node may take to start a worker and answer."""


@dataclass(frozen=True)
class NodeFacts:
    """Facts about a node."""

    cores: tuple[int, ...]
    """the cores that its workers may use"""
    machine: str
    """the kernel's boot id, equal for nodes on one machine"""
    sees: tuple[bool, ...]
    """for each requested path, whether it exists on the node"""


def connected() -> bool:
    """Whether this process is connected to a Ray cluster."""
    return bool(ray.is_initialized())


def cluster_nodes() -> list[Node]:
    """Return the live nodes: this process's node first, the others by address."""
    own = ray.get_runtime_context().get_node_id()
    alive = sorted((node for node in ray.nodes() if node["Alive"]), key=lambda node: (node["NodeID"] != own, _name(node)))
    gpus = [int(node["Resources"].get("GPU", 0)) for node in alive]
    memory = _ask(alive_with_gpus := [node["NodeID"] for node, count in zip(alive, gpus, strict=True) if count], gpu_gib)
    gib = dict(zip(alive_with_gpus, memory, strict=True))
    return [
        Node(_name(node), count, gib.get(node["NodeID"], 0.0), node["NodeID"]) for node, count in zip(alive, gpus, strict=True)
    ]


def _name(node: dict[str, Any]) -> str:
    return f"{node['NodeManagerAddress']}:{node['NodeManagerPort']}"


def gpu_gib() -> float:
    """Return the memory of this node's smallest GPU in GiB, as its driver reports it; 0: unknown, or no driver."""
    query = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        output = subprocess.run(query, capture_output=True, encoding="utf-8", timeout=30, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return 0.0
    lines = output.split()
    # A GPU that shares the machine's memory reports [N/A].
    return min((int(line) / 1024 for line in lines), default=0.0) if all(map(str.isdecimal, lines)) else 0.0


def facts(paths: Sequence[str]) -> NodeFacts:
    """Return the facts about this node, and which of `paths` exist on it."""
    machine = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    return NodeFacts(tuple(sorted(os.sched_getaffinity(0))), machine, tuple(Path(path).exists() for path in paths))


def inspected(nodes: Sequence[Node], models: Sequence[Path], *, shares_memory: bool) -> list[NodeFacts]:
    """Return the facts about `nodes`, which must see the `models` and, if `shares_memory`, this machine's shared memory.

    Raises `ConfigError` with the name of a node that does not.
    """
    with _probe(SHARED_MEMORY) as probe:
        answers = _ask([node.id for node in nodes], facts, [str(probe), *map(str, models)])
    for node, fact in zip(nodes, answers, strict=True):
        if shares_memory and not fact.sees[0]:
            raise ConfigError(
                f"mode.name=cluster: node {node.name} does not share {SHARED_MEMORY} with this one, which a weight sync "
                "without NCCL needs; use nodes of one machine, or GPUs with learner.transport=auto"
            )
        for model, sees in zip(models, fact.sees[1:], strict=True):
            if not sees:
                raise ConfigError(
                    f"mode.name=cluster: node {node.name} cannot read {model}; put models, cache_dir and log.dir on storage "
                    "that every node reads at the same path"
                )
    return answers


def check_shared(nodes: Iterable[Node], folder: Path) -> None:
    """Raise `ConfigError` unless each of `nodes`, where ranks write checkpoints, sees what this process writes to `folder`."""
    nodes = list(nodes)
    with _probe(folder.resolve()) as probe:
        answers = _ask([node.id for node in nodes], facts, [str(probe)])
    for node, fact in zip(nodes, answers, strict=True):
        if not fact.sees[0]:
            raise ConfigError(
                f"log.dir: node {node.name}, where a rank of the learner writes its part of a checkpoint, does not see "
                f"{folder}; name a folder in log.dir that every node shares"
            )


@contextmanager
def _probe(folder: Path) -> Iterator[Path]:
    """Yield a new file in `folder`, which exists in the block."""
    file = folder / f".tandem-probe-{uuid.uuid4().hex}"
    file.touch()
    try:
        yield file
    finally:
        file.unlink()


def _ask(node_ids: Sequence[str], question: Any, *arguments: Any) -> list[Any]:
    """Return the result of the function `question` on each node. Raises `RunError` when one does not answer."""
    remote = ray.remote(num_cpus=0)(question)
    answers = [
        remote.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node_id, soft=False)).remote(*arguments)
        for node_id in node_ids
    ]
    try:
        return list(ray.get(answers, timeout=ANSWER_TIMEOUT_S))
    except GetTimeoutError as error:
        raise RunError(
            f"a node of the Ray cluster did not answer within {ANSWER_TIMEOUT_S:g} s; see `ray status`, and try again"
        ) from error
