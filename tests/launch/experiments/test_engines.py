"""Which engines runs and evaluations borrow; what starts them is replaced."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from launch.experiments.engines import SharedEngines
from tandem.authors import Authors
from tandem.config.schema import Config


class CountedPool:
    """A pool that records what happens to it."""

    def __init__(self, made: list[str]) -> None:
        self._made, self._name = made, f"pool {len(made)}"
        made.append(f"start {self._name}")

    @contextmanager
    def borrow(self, config: Config, authors: Authors) -> Iterator[str]:
        yield self._name

    def reseed(self, by: int) -> None:
        self._made.append(f"reseed {self._name} by {by}")

    def close(self) -> None:
        self._made.append(f"close {self._name}")


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record what happens to the pools."""
    made: list[str] = []
    monkeypatch.setattr("launch.experiments.engines.start_engines", lambda *_: CountedPool(made))
    return made


def lent(engines: SharedEngines, config: Config, authors: Authors) -> object:
    """Return the pool that a run on CPUs with `config` borrows."""
    inputs: Any = SimpleNamespace(config=config, authors=authors, plan=SimpleNamespace(shares_cores=True))
    placements: Any = None
    budget: Any = None
    with engines.borrow_engines(inputs, 0, budget, placements) as pool:
        return pool


def test_equal_engines_are_lent_again_and_others_replaced(made: list[str], config: Config, authors: Authors) -> None:
    with SharedEngines() as engines:
        assert lent(engines, config, authors) == "pool 0"
        longer = replace(config, steps=config.steps + 1, learner=replace(config.learner, lr=1.0))
        assert lent(engines, longer, authors) == "pool 0", "the learner's settings do not concern the engines"
        assert lent(engines, replace(config, seed=config.seed + 2), authors) == "pool 0"
        assert made[0] == "start pool 0" and made[1] == "reseed pool 0 by 0"
        assert len(made) == 3 and made[2].startswith("reseed pool 0 by ") and made[2] != made[1]
        wider = replace(config, rollout=replace(config.rollout, max_in_flight=2 * config.rollout.max_in_flight))
        assert lent(engines, wider, authors) == "pool 4"
        assert made[3:] == ["close pool 0", "start pool 4"]
    assert made[-1] == "close pool 4"
