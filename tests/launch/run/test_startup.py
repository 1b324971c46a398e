"""Tests of the start of a run with components that only note what happens to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import pytest

from launch.cluster.reservation import Placements
from launch.run import startup
from launch.run.startup import describe_components, start_training_run
from tandem.config.learner import LearnerConfig
from tandem.config.rollout import RolloutConfig
from tandem.config.schema import Config
from tandem.plan.placement import Node
from tandem.plan.run_plan import local_plan
from tandem.runtime.weights import SHM


class Component:
    """Learner, pool or judge: notes its start and its end in `events`."""

    admitted, actors, borrowed = (96, 32), (), False

    def __init__(self, name: str, events: list[str]) -> None:
        self._name, self._events = name, events
        events.append(f"{name} starts")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def close(self) -> None:
        self._events.append(f"{self._name} ends")

    def processes(self) -> dict[str, Any]:
        return {}

    def checksums(self, author: int) -> list[list[str]]:
        return [["same"]]

    def await_started(self) -> None:
        self._events.append(f"{self._name} awaited")

    def begin(self, group: Any) -> None:
        pass

    def connect(self, engines: Any, sleeping: Any) -> None:
        self._events.append("connected")

    def begin_weight_sync(self) -> None:
        self._events.append("weight sync")

    def publish(self, version: int) -> int:
        return version

    def finish_weight_sync(self, weights: int) -> list[int]:
        return [weights]

    @contextmanager
    def sleeping(self) -> Iterator[None]:
        yield


@pytest.fixture
def events() -> list[str]:
    """What happened to the components."""
    return []


@pytest.fixture
def inputs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, events: list[str]) -> Any:
    """The inputs of a run on a CPU, whose judge and placements need no Ray."""

    @contextmanager
    def placed(*_: Any, **__: Any) -> Iterator[Placements]:
        yield Placements()

    monkeypatch.setattr(startup, "reserve_placements", placed)
    monkeypatch.setattr(startup, "group_source", lambda *_: None)
    monkeypatch.setattr(startup, "Judge", lambda *_: Component("judge", events))
    monkeypatch.setattr(startup, "ResilientLearner", lambda *_, **__: Component("learner", events))
    config = Config(steps=2)
    return SimpleNamespace(
        config=config,
        plan=local_plan(config, Node("this machine", 0), None),
        authors=SimpleNamespace(senior="models/senior"),
        transport=SHM,
        folder=SimpleNamespace(path=tmp_path),
        problems=SimpleNamespace(left_out="no problem is left out"),
        held_out=[],
        checkpoint=None,
        warnings=(),
    )


@pytest.fixture
def start_engines(events: list[str]) -> Callable[..., Component]:
    """Start a pool."""
    return lambda *_: Component("engines", events)


def test_start_says_what_it_waits_for_and_ends_all(
    inputs: Any, start_engines: Any, events: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with start_training_run(inputs, start_engines) as run:
        assert list(run.pool.admitted) == [96, 32]
    assert events[:3] == ["engines starts", "learner starts", "engines awaited"]
    assert sorted(events[-3:]) == ["engines ends", "judge ends", "learner ends"]
    assert "connected" in events
    printed = capsys.readouterr().out
    assert "Starting 1 rollout actor and 1 learner rank (ZeRO-1)" in printed
    assert "Engines ready: up to 128 concurrent rollouts" in printed


@pytest.mark.parametrize("borrowed", [False, True])
def test_borrowed_engines_receive_base_weights(inputs: Any, events: list[str], borrowed: bool) -> None:
    engines = Component("engines", events)
    engines.borrowed = borrowed
    start_borrowed: Any = lambda *_: engines  # noqa: E731
    with start_training_run(inputs, start_borrowed):
        assert ("weight sync" in events) == borrowed


def test_failure_of_engines_ends_learner(inputs: Any, events: list[str]) -> None:
    class Failing(Component):
        def await_started(self) -> None:
            raise RuntimeError("no engine")

    start_failing: Any = lambda *_: Failing("engines", events)  # noqa: E731
    with pytest.raises(RuntimeError, match="no engine"), start_training_run(inputs, start_failing):
        pass
    assert events == ["engines starts", "learner starts", "learner ends", "engines ends"]


def test_numbers_of_components_are_in_words() -> None:
    config = Config(rollout=RolloutConfig(replicas=2), learner=LearnerConfig(ranks=3, zero_stage=2))
    assert describe_components(config) == "2 rollout actors and 3 learner ranks (ZeRO-2)"
    assert describe_components(config, learner=False) == "2 rollout actors"
