"""Tests of a component that starts in a thread."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from launch.run.aside import Aside


class Component:
    """Notes when it ends."""

    def __init__(self) -> None:
        self.ended = threading.Event()

    def __exit__(self, *_: Any) -> None:
        self.ended.set()


def test_component_ends_after_block() -> None:
    component = Component()
    with Aside(lambda: component) as starting:
        assert starting.started() is component
        assert not component.ended.is_set()
    assert component.ended.is_set()


def test_failure_of_start_is_raised_where_it_is_waited_for() -> None:
    def fail() -> Component:
        raise ValueError("no memory")

    with Aside(fail) as starting, pytest.raises(ValueError, match="no memory"):
        starting.started()


def test_error_does_not_wait_for_start_and_component_ends_all_the_same() -> None:
    component, may_start = Component(), threading.Event()

    def start() -> Component:
        assert may_start.wait(30)
        return component

    def fail() -> None:
        with Aside(start):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert not component.ended.is_set()
    may_start.set()
    assert component.ended.wait(30)
