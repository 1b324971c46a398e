"""Tests of the order of training problems, a pure function of seed and step."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tandem.data.order import Shuffled
from tandem.rollout import Problem

seeds = st.integers(0, 2**32)
counts = st.integers(1, 60)


def shuffled(count: int, seed: int) -> Shuffled:
    return Shuffled([Problem(str(i), f"{i}?", str(i)) for i in range(count)], seed)


@given(seeds, counts, st.integers(1, 8), st.integers(0, 3))
def test_epoch_has_every_problem_once(seed: int, count: int, size: int, epoch: int) -> None:
    size = min(size, count)
    per_epoch = count // size
    sampler = shuffled(count, seed)
    met = [problem.id for step in range(epoch * per_epoch, (epoch + 1) * per_epoch) for problem in sampler.batch(step, size)]
    assert len(met) == len(set(met)) == count - count % size


@given(seeds, counts, st.integers(0, 200), st.integers(1, 5))
def test_order_after_resuming_at_any_step_is_unchanged(seed: int, count: int, resumed: int, size: int) -> None:
    size = min(size, count)
    whole = shuffled(count, seed)
    for step in range(max(0, resumed - 3), resumed):
        whole.batch(step, size)
    assert [whole.batch(step, size) for step in range(resumed, resumed + 3)] == [
        shuffled(count, seed).batch(step, size) for step in range(resumed, resumed + 3)
    ]


def test_each_epoch_and_seed_has_another_order() -> None:
    orders = [tuple(p.id for p in shuffled(30, seed).batch(epoch, 30)) for seed in range(3) for epoch in range(3)]
    assert len(set(orders)) == 9
