"""Tests of the placement of a run on a real Ray cluster with fake GPUs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import ray
from ray.cluster_utils import Cluster

from launch.cluster import nodes as nodes_module
from launch.cluster import reservation
from launch.cluster.environment import worker_environment
from launch.cluster.nodes import cluster_nodes, inspected
from launch.cluster.reservation import reserve_placements
from tandem.authors import Authors
from tandem.config.learner import LearnerConfig
from tandem.config.rollout import RolloutConfig
from tandem.config.schema import Config, ConfigError
from tandem.plan.placement import Node
from tandem.plan.run_plan import RunPlan, cluster_plan, local_plan
from tandem.plan.sizes import model_sizes

pytestmark = pytest.mark.slow  # needs its own cluster in a process that may be connected to another


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """Two nodes with four fake GPUs each."""
    ray.shutdown()
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "num_gpus": 4, "include_dashboard": False})
    nodes.add_node(num_cpus=1, num_gpus=4)
    ray.init(nodes.address, logging_level="ERROR", log_to_driver=False)
    yield
    ray.shutdown()
    nodes.shutdown()


@pytest.fixture
def plan(cluster: None, config: Config) -> RunPlan:
    """Two replicas of three GPUs and two ranks."""
    wanted = replace(config, rollout=RolloutConfig(replicas=2, senior_tensor_parallel=2), learner=LearnerConfig(ranks=2))
    return cluster_plan(wanted, cluster_nodes(), model_sizes(config))


class _Witness:
    """An actor that returns its node and the GPUs it sees."""

    def where(self) -> tuple[str, str]:
        return ray.get_runtime_context().get_node_id(), os.environ.get("CUDA_VISIBLE_DEVICES", "all")


Witness = ray.remote(_Witness)


def test_actors_are_placed_as_planned(plan: RunPlan, authors: Authors) -> None:
    with reserve_placements(plan, authors, 0, shares_memory=True) as placements:
        replicas = [Witness.options(num_cpus=0, num_gpus=3, scheduling_strategy=seat).remote() for seat in placements.replicas]
        ranks = [Witness.options(num_cpus=0, num_gpus=1, scheduling_strategy=seat).remote() for seat in placements.ranks]
        found = ray.get([witness.where.remote() for witness in replicas + ranks], timeout=60)
        planned = [plan.home("senior", 0), plan.home("senior", 1), plan.home("learner", 0), plan.home("learner", 1)]
        assert [node for node, _ in found] == [node.id for node in planned]
        assert [len(gpus.split(",")) for _, gpus in found] == [3, 3, 1, 1]
        seen = {(node, gpu) for node, gpus in found for gpu in gpus.split(",")}
        assert len(seen) == 8, "no GPU is given twice"
        for witness in replicas + ranks:
            ray.kill(witness)


def test_occupied_gpus_are_reported_without_waiting(plan: RunPlan, authors: Authors, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reservation, "RESERVE_TIMEOUT_S", 2.0)
    with (
        reserve_placements(plan, authors, 0, shares_memory=True),
        pytest.raises(ConfigError, match="the run needs 8 GPUs as planned, .*: 0 are free; wait for other jobs"),
        reserve_placements(plan, authors, 0, shares_memory=True),
    ):
        pass


def test_error_names_node_without_model(cluster: None, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="mode.name=cluster: node .* cannot read .*/nowhere; put models, cache_dir"):
        inspected(cluster_nodes(), [tmp_path / "nowhere"], shares_memory=True)


def test_nodes_without_common_shared_memory_are_refused(cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # As on two machines: a node does not find the probe in its own shared memory.
    monkeypatch.setattr(nodes_module, "facts", lambda paths: nodes_module.NodeFacts((), "", (False,)))
    with pytest.raises(ConfigError, match="mode.name=cluster: node .* does not share /dev/shm"):
        inspected(cluster_nodes(), [], shares_memory=True)


def test_run_folder_that_a_rank_does_not_see_is_refused(
    plan: RunPlan, authors: Authors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with reserve_placements(plan, authors, 0, shares_memory=True, run_folder=tmp_path):
        assert not list(tmp_path.iterdir())
    # As on two machines: the other has a folder of this name of its own.
    asked: list[str] = []

    def other_folder(paths: list[str]) -> nodes_module.NodeFacts:
        asked.extend(paths)
        return nodes_module.NodeFacts((), "", tuple(not path.startswith(str(tmp_path)) for path in paths))

    monkeypatch.setattr(nodes_module, "_ask", lambda ids, question, paths: [other_folder(paths) for _ in ids])
    with (
        pytest.raises(ConfigError, match=r"^log.dir: node .* does not see .*; name a folder in log.dir that every node shares"),
        reserve_placements(plan, authors, 0, shares_memory=True, run_folder=tmp_path),
    ):
        pass
    assert Path(asked[-1]).parent == tmp_path and not list(tmp_path.iterdir())


@pytest.mark.parametrize(("gpus", "replicas"), [(1, 2), (2, 2), (3, 4)])
def test_gpus_of_one_machine_are_shared_as_planned(config: Config, gpus: int, replicas: int) -> None:
    ray.shutdown()
    plan = local_plan(replace(config, rollout=RolloutConfig(replicas=replicas)), Node("", gpus, 80.0), model_sizes(config))
    ray.init("local", num_cpus=1, num_gpus=gpus, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
    owners = [("learner", 0), *(("senior", replica) for replica in range(replicas))]  # in the order of their start
    found = []
    for _ in owners:
        witness = Witness.options(num_cpus=0, num_gpus=plan.gpus_per_rank).remote()
        found.append((witness, int(ray.get(witness.where.remote(), timeout=60)[1])))
    places = {(slot.role, slot.owner): slot.gpus[0] for slot in plan.slots}
    assert [gpu for _, gpu in found] == [places[owner] for owner in owners]
    ray.shutdown()


def test_actor_without_gpus_sees_none(monkeypatch: pytest.MonkeyPatch) -> None:
    ray.shutdown()
    variables = worker_environment()
    # As on another node, whose raylet was started without the run's variables.
    for name in variables:
        monkeypatch.delenv(name)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    ray.init("local", num_cpus=1, num_gpus=1, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
    seen = []
    for given in ({}, variables):
        witness = Witness.options(num_cpus=0, num_gpus=0, runtime_env={"env_vars": given}).remote()
        seen.append(ray.get(witness.where.remote(), timeout=60)[1])
    assert seen == ["0", ""], "Ray hides the GPUs only with the run's variables"
    ray.shutdown()
