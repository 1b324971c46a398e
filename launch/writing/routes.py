"""The routes of the page: its files, the events of a text, and what the person decides."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator
from http import HTTPStatus
from pathlib import Path

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from launch.report_page.page import FOLDER as REPORT
from launch.serving.api import EventStream
from launch.serving.errors import ApiError, answer_errors
from launch.writing.texts import Event, Texts

PAGE = Path(__file__).parent / "page"
FILES = {
    "/": (PAGE / "page.html", "text/html"),
    "/page.css": (PAGE / "page.css", "text/css"),
    "/page.js": (PAGE / "page.js", "text/javascript"),
    "/report.css": (REPORT / "page.css", "text/css"),
}
"""The files of the page, and those that it shares with the report."""
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
MAX_STEP = 20_000
"""The most characters that a person may write at a time."""


class WrittenStep(BaseModel):
    """What the person writes."""

    model_config = ConfigDict(extra="forbid", strict=True)
    text: str = Field("", max_length=MAX_STEP)
    """empty: the model goes on"""
    ends: bool = False
    """whether the whole text ends with it"""


def create_app(texts: Texts) -> FastAPI:
    """Return the application that serves the page for `texts`."""
    app = FastAPI(title="tandem", openapi_url=None)
    answer_errors(app)
    router = APIRouter(dependencies=[Depends(_refuse_other_sites)])

    @router.get("/texts")
    async def write(problem: int) -> Response:
        events = texts.write(problem)
        return EventStream(events, _sent(events))

    @router.post("/texts/{name}/step", status_code=HTTPStatus.NO_CONTENT)
    async def step(name: str, body: WrittenStep) -> None:
        if not await texts.decide(name, body.text, ends=body.ends):
            raise ApiError(HTTPStatus.CONFLICT, "it is not your turn, or the model cannot go on before you have begun")

    @router.post("/texts/{name}/pen", status_code=HTTPStatus.NO_CONTENT)
    async def pen(name: str) -> None:
        if not await texts.ask_for_pen(name):
            raise ApiError(HTTPStatus.CONFLICT, "this text is not being written")

    app.include_router(router)
    for path, (file, media_type) in FILES.items():
        _serve_file(app, path, file, media_type)
    return app


def _serve_file(app: FastAPI, path: str, file: Path, media_type: str) -> None:
    content = file.read_bytes()

    @app.get(path)
    async def answer() -> Response:
        return Response(content, media_type=media_type, headers=HEADERS)


def _refuse_other_sites(request: Request) -> None:
    """Raise `ApiError` when a page of another site makes the request."""
    if request.headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        raise ApiError(HTTPStatus.FORBIDDEN, "only the page of this server may write texts")


async def _sent(events: AsyncGenerator[Event, None]) -> AsyncIterator[str]:
    async for event in events:
        yield f"data: {json.dumps(event)}\n\n"
