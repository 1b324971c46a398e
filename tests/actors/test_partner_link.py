"""Turns from engine to engine: what is sent arrives in order, and an engine that has died holds up no other."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from actors.partner_link import PartnerLink
from actors.turn_messages import BegunTurn

pytestmark = pytest.mark.seconds  # it imports vLLM


def turn(name: str, tokens: Sequence[int] = (1, 2)) -> BegunTurn:
    return BegunTurn(name, list(tokens), 7, (3, 0, True), sender="s")


def received(link: PartnerLink, count: int) -> list[BegunTurn]:
    """Wait for `count` turns."""
    turns: list[BegunTurn] = []
    deadline = time.monotonic() + 30
    while len(turns) < count:
        assert time.monotonic() < deadline, f"only {turns} arrived"
        link.wait(100)
        turns += link.received()
    return turns


def test_turns_arrive_in_order_from_several_engines(tmp_path: Path) -> None:
    addresses = [str(tmp_path / name) for name in "abc"]
    first, second, third = map(PartnerLink, addresses)
    assert first.received() == []
    for name in "xyz":
        second.send(addresses[0], [turn(name), turn(name + "2")])
    third.send(addresses[0], [turn("w")])
    turns = received(first, 7)
    assert [each.request_id for each in turns if each.request_id != "w"] == ["x", "x2", "y", "y2", "z", "z2"]
    assert turn("w") in turns
    first.send(addresses[1], [turn("back")])
    assert received(second, 1) == [turn("back")]


def test_engine_passes_turns_to_itself(tmp_path: Path) -> None:
    address = str(tmp_path / "a")
    link = PartnerLink(address)
    link.send(address, [turn("x")])
    link.send(address, [turn("y")])
    start = time.monotonic()
    link.wait(60_000)
    assert time.monotonic() < start + 30
    assert link.received() == [turn("x"), turn("y")]
    assert link.received() == []


def test_waiting_ends_after_its_time_or_with_the_first_turns(tmp_path: Path) -> None:
    addresses = [str(tmp_path / name) for name in "ab"]
    first, second = map(PartnerLink, addresses)
    start = time.monotonic()
    first.wait(100)
    assert time.monotonic() >= start + 0.1
    second.send(addresses[0], [turn("x")])
    start = time.monotonic()
    first.wait(60_000)
    assert time.monotonic() < start + 30
    assert first.received() == [turn("x")]


@pytest.mark.timeout(60)
def test_sending_to_an_engine_that_died_does_not_wait(tmp_path: Path) -> None:
    addresses = [str(tmp_path / name) for name in "ab"]
    first, second = map(PartnerLink, addresses)
    first.send(addresses[1], [turn("x")])
    assert received(second, 1) == [turn("x")]
    del second  # which closes its sockets
    for _ in range(3_000):
        first.send(addresses[1], [turn("x")])
        assert first.received() == []
    Path(addresses[1]).unlink()
    first.send(addresses[1], [turn("x")])
    assert first.received() == []


@pytest.mark.timeout(60)
def test_turns_larger_than_sockets_hold_cross_and_arrive_completely(tmp_path: Path) -> None:
    """Neither engine reads while it sends, and neither waits for the other."""
    addresses = [str(tmp_path / name) for name in "ab"]
    first, second = map(PartnerLink, addresses)
    large = [[turn(f"{name}{index}", list(range(50_000))) for index in range(20)] for name in "xy"]
    for part in range(20):
        first.send(addresses[1], large[0][part : part + 1])
        second.send(addresses[0], large[1][part : part + 1])
    arrived: list[list[BegunTurn]] = [[], []]
    while len(arrived[0]) + len(arrived[1]) < 40:
        for link, turns in zip((second, first), arrived, strict=True):
            link.wait(100)
            turns += link.received()
    assert arrived == large
