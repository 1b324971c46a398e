"""How an engine sends turns to the engines of other authors and receives theirs."""

from __future__ import annotations

import select
import socket
from contextlib import suppress
from pathlib import Path

from vllm import envs

from actors.turn_messages import BegunTurn, decode_turns, encode_turns


def turns_address(pid: int, seed: int) -> str:
    """Return the socket file where the engine with the process `pid` and the `seed` receives turns."""
    return str(Path(envs.VLLM_RPC_BASE_PATH, f"tandem-turns-{pid}-{seed}"))


class _Connection:
    """One end of a stream socket that carries messages, each after its length. It never waits for the other end."""

    LENGTH_BYTES = 4
    READ_BYTES = 1 << 16

    def __init__(self, stream: socket.socket) -> None:
        stream.setblocking(False)
        self.stream = stream
        self.rest = bytearray()
        """what is not sent yet; at the receiver, the part of a message that has arrived"""

    def add(self, message: bytes) -> None:
        """Add a message to those that `flush` sends."""
        self.rest += len(message).to_bytes(self.LENGTH_BYTES, "little") + message

    def flush(self) -> None:
        """Send what is not sent yet, as far as the socket takes it. Raises `ConnectionError`."""
        if self.rest:
            with suppress(BlockingIOError):
                del self.rest[: self.stream.send(self.rest)]

    def received(self) -> list[bytes] | None:
        """Return the messages that have arrived completely; None if the other end has closed."""
        try:
            self.rest += (arrived := self.stream.recv(self.READ_BYTES))
        except BlockingIOError:
            return []
        if not arrived:
            return None
        messages = []
        while len(self.rest) >= self.LENGTH_BYTES:
            end = self.LENGTH_BYTES + int.from_bytes(self.rest[: self.LENGTH_BYTES], "little")
            if len(self.rest) < end:
                break
            messages.append(bytes(self.rest[self.LENGTH_BYTES : end]))
            del self.rest[:end]
        return messages


class PartnerLink:
    """Receives turns at `address` and sends turns to other addresses, its own too.

    The scheduler itself reads and writes the sockets: a messaging library wakes threads for each message, and every step sends
    one.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        Path(address).unlink(missing_ok=True)  # of an engine that was killed
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(address)
        self._listener.listen()
        self._poll = select.poll()
        self._poll.register(self._listener, select.POLLIN)
        self._inboxes: dict[int, _Connection] = {}
        """by file descriptor"""
        self._outboxes: dict[str, _Connection] = {}
        """by address"""
        self._own: list[BegunTurn] = []
        """sent to this engine by itself"""

    def send(self, address: str, turns: list[BegunTurn]) -> None:
        """Send `turns` to the engine at `address`; they are lost if it has died."""
        if address == self._address:
            self._own += turns
            return
        if address not in self._outboxes:
            stream = socket.socket(socket.AF_UNIX)
            try:
                stream.connect(address)
            except (ConnectionError, FileNotFoundError):
                stream.close()
                return
            self._outboxes[address] = _Connection(stream)
        self._outboxes[address].add(encode_turns(turns))
        self._flush(address)

    def _flush(self, address: str) -> None:
        """Send what is not sent yet to the engine at `address`, or close the connection if it has died."""
        outbox = self._outboxes[address]
        try:
            outbox.flush()
        except ConnectionError:
            outbox.stream.close()
            del self._outboxes[address]

    def received(self) -> list[BegunTurn]:
        """Return the turns that have arrived since the last call, and send the rest of earlier ones."""
        for address in list(self._outboxes):
            self._flush(address)
        turns, self._own = self._own, []
        for descriptor, _ in self._poll.poll(0):
            if descriptor == self._listener.fileno():
                inbox = _Connection(self._listener.accept()[0])
                descriptor = inbox.stream.fileno()
                self._inboxes[descriptor] = inbox
                self._poll.register(descriptor, select.POLLIN)
            if (messages := self._inboxes[descriptor].received()) is None:
                self._poll.unregister(descriptor)
                self._inboxes.pop(descriptor).stream.close()
                continue
            for message in messages:
                turns += decode_turns(message)
        return turns

    def wait(self, timeout_ms: int) -> None:
        """Wait until turns arrive or unsent ones can be sent, for `timeout_ms` at most."""
        if self._own:
            return
        unsent = [outbox.stream for outbox in self._outboxes.values() if outbox.rest]
        for stream in unsent:
            self._poll.register(stream, select.POLLOUT)
        self._poll.poll(timeout_ms)
        for stream in unsent:
            self._poll.unregister(stream)
