"""The address of a server, and its run until a signal."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from tandem.config.schema import Config, ConfigError


def bound_socket(config: Config) -> socket.socket:
    """Return a socket at the server's address, which does not listen yet. Raises `ConfigError`."""
    host, port = config.serve.host, config.serve.port
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError as error:
        raise ConfigError(
            f"serve.host={host} serve.port={port}: the address cannot be used ({error}); choose another, or serve.port=0 for "
            "any free port"
        ) from error
    return bound


def address_of(listener: socket.socket) -> str:
    """Return the address of a bound socket as a URL."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def run_server(
    app: ASGIApp,
    listener: socket.socket,
    on_start: Callable[[], None],
    work: Coroutine[Any, Any, Any],
    drain_s: int,
    on_stop: Callable[[], None] = lambda: None,
) -> None:
    """Serve `app` and run `work`; stop at a signal or when `work` ends, and raise its error. Call `on_start` once listening.

    Call `on_stop` after the signal. Requests in progress then have `drain_s` seconds before they are cancelled.
    """
    server = _Server(
        uvicorn.Config(app, log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=drain_s),
        on_start,
        on_stop,
    )
    working = asyncio.ensure_future(work)
    working.add_done_callback(lambda _: setattr(server, "should_exit", True))
    try:
        await server.serve([listener])
        if working.done():
            working.result()
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)


class _Server(uvicorn.Server):
    """A server that calls `on_start` once it listens, and `on_stop` before it waits for requests to end."""

    def __init__(self, config: uvicorn.Config, on_start: Callable[[], None], on_stop: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_start, self._on_stop = on_start, on_stop

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to listen."""
        await super().startup(sockets)
        self._on_start()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening, and wait for the requests."""
        self._on_stop()
        await super().shutdown(sockets)
