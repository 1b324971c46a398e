"""The routes of the API."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from contextlib import aclosing
from http import HTTPStatus
from typing import Any, TypeVar

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.types import Receive, Scope, Send

from launch.serving.bodies import DONE, Body, ChatBody, error_event
from launch.serving.errors import ApiError, answer_errors
from launch.serving.requests import ChatRequest, CompletionRequest, TextRequest
from launch.serving.service import Service
from launch.serving.writing import Delta, TextTask

T = TypeVar("T")
COMPLETIONS, CHAT, HEALTH, METRICS, MODEL_LIST = "/v1/completions", "/v1/chat/completions", "/health", "/metrics", "/v1/models"
PATHS = (COMPLETIONS, CHAT, HEALTH, METRICS, MODEL_LIST)
DISCONNECTED = 499
"""The status of a response to a client that has disconnected."""


def create_app(service: Service) -> FastAPI:
    """Return the application that answers requests with `service`."""
    app = FastAPI(title="tandem", docs_url=None, redoc_url=None)  # these pages would load scripts from another host
    started = int(time.time())

    @app.get(MODEL_LIST)
    async def models() -> dict[str, Any]:
        entries = [{"id": model, "object": "model", "created": started, "owned_by": "tandem"} for model in service.models]
        return {"object": "list", "data": entries}

    @app.post(COMPLETIONS)
    async def completions(body: CompletionRequest, request: Request) -> Response:
        service.check_texts(len(body.prompts) * body.n)  # before prompts are encoded
        prompts = [service.prompts.text(prompt) for prompt in body.prompts]
        task = service.task(body, prompts, body.max_tokens)
        return await _answer(service, body, Body(task, logprobs=body.logprobs is not None), task, request)

    @app.post(CHAT)
    async def chat_completions(body: ChatRequest, request: Request) -> Response:
        service.check_texts(body.n)
        task = service.task(body, [service.prompts.chat(body.messages)], body.max_completion_tokens or body.max_tokens)
        return await _answer(service, body, ChatBody(task, logprobs=bool(body.logprobs)), task, request)

    @app.get(HEALTH)
    async def health() -> Response:
        running = service.pool.running
        status = HTTPStatus.OK if running else HTTPStatus.SERVICE_UNAVAILABLE
        return JSONResponse({"status": "ok" if running else "restarting", "replicas": running}, status)

    @app.get(METRICS)
    async def metrics() -> Response:
        return PlainTextResponse(await service.metrics_text(), media_type=CONTENT_TYPE_LATEST)

    answer_errors(app)
    return app


async def _answer(service: Service, text_request: TextRequest, body: Body, task: TextTask, request: Request) -> Response:
    """Return the response for the texts of `task`. They are cancelled when the client disconnects."""
    deltas = service.write(task)
    if not text_request.stream:
        whole = await _while_connected(request, _all(deltas))
        return Response(status_code=DISCONNECTED) if whole is None else JSONResponse(body.whole(whole))
    try:
        first = await _while_connected(request, anext(deltas))  # an error before it has a status of its own
    except BaseException:
        await deltas.aclose()
        raise
    if first is None:
        await deltas.aclose()
        return Response(status_code=DISCONNECTED)
    include_usage = text_request.stream_options is not None and text_request.stream_options.include_usage
    return EventStream(deltas, _events(first, deltas, body, include_usage=include_usage))


async def _all(deltas: AsyncGenerator[Delta, None]) -> list[Delta]:
    async with aclosing(deltas):
        return [delta async for delta in deltas]


async def _events(first: Delta, deltas: AsyncGenerator[Delta, None], body: Body, *, include_usage: bool) -> AsyncIterator[str]:
    yield body.event(first)
    try:
        async for delta in deltas:
            yield body.event(delta)
    except ApiError as error:
        yield error_event(error.body)
        return
    if include_usage:
        yield body.usage_event()
    yield DONE


class EventStream(StreamingResponse):
    """A stream of server-sent events that closes `deltas` at its end, whatever ends it."""

    media_type = "text/event-stream"

    def __init__(self, deltas: AsyncGenerator[Any, None], events: AsyncIterator[str]) -> None:
        super().__init__(events, headers={"Cache-Control": "no-store"})
        self._deltas = deltas

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._deltas.aclose()


async def _while_connected(request: Request, work: Awaitable[T]) -> T | None:
    """Return the result of `work`; cancel it and return None when the client disconnects."""

    async def disconnect() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    working, watching = asyncio.ensure_future(work), asyncio.ensure_future(disconnect())
    try:
        await asyncio.wait([working, watching], return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        for task in (working, watching):
            task.cancel()
        await asyncio.gather(working, watching, return_exceptions=True)
