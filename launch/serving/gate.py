"""Check every request before it is read: its address, its key, the size of its body."""

from __future__ import annotations

import hmac
from http import HTTPStatus
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from launch.serving.errors import ApiError
from launch.serving.metrics import Metrics

LOCAL = ("127.0.0.1", "::1", "localhost")
"""The addresses that only this machine reaches."""
OPEN = ("/health",)
"""The paths that need no key."""


class Gate:
    """Refuses requests without the API key, if there is one, and bodies that are too large; counts requests.

    Without a key it serves only this machine's addresses, and refuses other names in the header Host (against DNS rebinding).
    """

    def __init__(self, app: ASGIApp, key: str, max_body: int, metrics: Metrics, paths: frozenset[str]) -> None:
        self._app, self._key, self._max_body, self._metrics, self._paths = app, key, max_body, metrics, paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"] if scope["path"] in self._paths else "other"

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._metrics.requests.labels(path, message["status"]).inc()
            await send(message)

        headers = Headers(scope=scope)
        if refusal := self._refusal(scope["path"], headers):
            await refusal.response()(scope, receive, counted)
            return
        received = 0

        async def limited() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._max_body:
                raise self._too_large()
            return message

        await self._app(scope, limited, counted)

    def _refusal(self, path: str, headers: Headers) -> ApiError | None:
        if not self._key and _host_name(host := headers.get("host", "")) not in LOCAL:
            message = f"the header Host is {host[:80]!r}; it must be one of {', '.join(LOCAL)}"
            return ApiError(HTTPStatus.FORBIDDEN, message)
        credential = headers.get("authorization", "").removeprefix("Bearer ")
        if self._key and path not in OPEN and not hmac.compare_digest(credential.encode(), self._key.encode()):
            message = "the API key is missing or wrong; send the header Authorization: Bearer KEY"
            return ApiError(HTTPStatus.UNAUTHORIZED, message, code="invalid_api_key")
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length) > self._max_body:
            return self._too_large()
        return None

    def _too_large(self) -> ApiError:
        return ApiError(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"the body has more than {self._max_body} bytes; send less, or start the server with a greater serve.max_body_kib",
        )


def _host_name(host: str) -> str | None:
    """Return the name in a header Host without the port; None if it has none."""
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:  # such as an unclosed bracket
        return None
