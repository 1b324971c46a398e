"""How an engine sends turns to the engines of other authors and receives theirs."""

from __future__ import annotations

import tempfile
from pathlib import Path

import zmq

from actors.turn_messages import BegunTurn, decode_turns, encode_turns

_IPC = "ipc://"


def turns_address(pid: int, seed: int) -> str:
    """Return where the engine with the process `pid` and the `seed` receives turns."""
    return f"{_IPC}{tempfile.gettempdir()}/tandem-turns-{pid}-{seed}"


def socket_of(address: str) -> Path:
    """Return the file of an address."""
    return Path(address.removeprefix(_IPC))


class PartnerLink:
    """Receives turns at `address` and sends turns to other addresses, its own too."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._context = zmq.Context()
        self._inbox = self._context.socket(zmq.PULL)
        self._inbox.bind(address)
        self._outboxes: dict[str, zmq.Socket[bytes]] = {}
        """by address"""
        self._own: list[BegunTurn] = []
        """sent to this engine by itself"""

    def send(self, address: str, turns: list[BegunTurn]) -> None:
        """Send `turns` to the engine at `address`; they are lost if it has died."""
        if address == self._address:
            self._own += turns
            return
        if (outbox := self._outboxes.get(address)) is None:
            outbox = self._outboxes[address] = self._context.socket(zmq.PUSH)
            outbox.sndhwm = 0  # so that sending never waits
            outbox.linger = 0
            outbox.connect(address)
        outbox.send(encode_turns(turns))

    def received(self) -> list[BegunTurn]:
        """Return the turns that have arrived since the last call."""
        turns, self._own = self._own, []
        while self._inbox.poll(timeout=0):
            turns += decode_turns(self._inbox.recv())
        return turns

    def wait(self, timeout_ms: int) -> None:
        """Wait until turns arrive, for `timeout_ms` at most."""
        if not self._own:
            self._inbox.poll(timeout_ms)
