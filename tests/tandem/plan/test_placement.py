"""Tests of placement: which process has which GPU."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tandem.config.schema import ConfigError
from tandem.plan.placement import Demand, Node, claims_per_gpu, most_replicas, place, share_out, spread

demands = st.builds(
    Demand,
    engines=st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple),
    replicas=st.integers(1, 12),
    ranks=st.integers(1, 16),
)
clusters = st.lists(st.integers(0, 8), min_size=1, max_size=10).map(
    lambda gpus: [Node(f"node {index}", count) for index, count in enumerate(gpus)]
)


@given(demand=demands, nodes=clusters)
def test_every_process_has_gpus_or_error_names_missing_ones(demand: Demand, nodes: list[Node]) -> None:
    fits = demand.replicas <= sum(node.gpus // demand.replica for node in nodes) and demand.total <= sum(
        node.gpus for node in nodes
    )
    if not fits:
        with pytest.raises(ConfigError, match="^(mode.name=cluster|rollout.senior_tensor_parallel=|rollout.replicas=)"):
            place(demand, nodes)
        return
    slots = place(demand, nodes)
    given_out = Counter((slot.node, gpu) for slot in slots for gpu in slot.gpus)
    assert max(given_out.values()) == 1
    assert all(gpu < nodes[node].gpus for node, gpu in given_out)
    assert sum(given_out.values()) == demand.total
    for replica in range(demand.replicas):
        engines = [slot for slot in slots if slot.role != "learner" and slot.owner == replica]
        assert [len(slot.gpus) for slot in engines] == list(demand.engines)
        assert len({slot.node for slot in engines}) == 1, "one process drives a replica's engines"
    assert [slot.owner for slot in slots if slot.role == "learner"] == list(range(demand.ranks))


@given(
    engines=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    replicas=st.integers(1, 6),
    ranks=st.integers(1, 4),
    gpus=st.lists(st.integers(1, 4), min_size=1, max_size=2),
)
def test_one_machine_is_proposed_where_its_gpus_can_be_shared(
    engines: tuple[int, int], replicas: int, ranks: int, gpus: list[int]
) -> None:
    demand, nodes = Demand(engines, replicas, ranks), [Node(f"node {index}", count) for index, count in enumerate(gpus)]
    assume(demand.total > sum(gpus))
    with pytest.raises(ConfigError, match="; use fewer replicas or ranks, ") as refused:
        place(demand, nodes)
    if str(refused.value).endswith(", add nodes, or choose mode=local, where all share one GPU"):
        assert len(nodes) == 1 and claims_per_gpu(demand, gpus[0])
        return
    assert str(refused.value).endswith(", or add nodes")
    if len(nodes) == 1:
        with pytest.raises(ConfigError):
            claims_per_gpu(demand, gpus[0])


@given(demand=demands, nodes=clusters)
def test_most_replicas_is_largest_placeable_number(demand: Demand, nodes: list[Node]) -> None:
    assume((most := most_replicas(demand, nodes)) > 0)
    place(Demand(demand.engines, most, demand.ranks), nodes)
    with pytest.raises(ConfigError):
        place(Demand(demand.engines, most + 1, demand.ranks), nodes)


def test_learner_has_its_own_node_if_possible() -> None:
    slots = place(Demand((2, 2), replicas=2, ranks=8), [Node("a", 8), Node("b", 8)])
    assert {slot.node for slot in slots if slot.role == "learner"} == {1}


@given(demand=demands, nodes=clusters)
def test_every_cpu_node_has_replica(demand: Demand, nodes: list[Node]) -> None:
    slots = spread(demand, nodes)
    homes = Counter(slot.node for slot in slots if slot.role == "senior")
    assert len(homes) == min(demand.replicas, len(nodes)) and max(homes.values()) - min(homes.values()) <= 1
    assert {slot.node for slot in slots if slot.role == "learner"} == {0}


@given(replicas=st.integers(1, 9), ranks=st.integers(0, 4), gpus=st.integers(1, 8))
def test_shared_gpus_hold_at_most_planned_claims(replicas: int, ranks: int, gpus: int) -> None:
    wanted = Demand((1, 1), replicas, ranks)
    if ranks > 1 and replicas + ranks > gpus:
        with pytest.raises(ConfigError, match="learner.ranks="):
            claims_per_gpu(wanted, gpus)
        return
    each = claims_per_gpu(wanted, gpus)
    slots = share_out(wanted, gpus, each)
    claims = Counter(slot.gpus[0] for slot in slots if slot.role != "junior")
    assert max(claims.values()) <= each and set(claims) <= set(range(gpus))
