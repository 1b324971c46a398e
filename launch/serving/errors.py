"""The errors of the API, as OpenAI's clients read them."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException as StarletteException


class ApiError(HTTPException):
    """A request that is refused, or that failed; `param` is the field at fault."""

    def __init__(
        self, status: HTTPStatus, message: str, *, param: str | None = None, code: str | None = None, retry_s: int | None = None
    ) -> None:
        super().__init__(status, message, {} if retry_s is None else {"Retry-After": str(retry_s)})
        self.param, self.code = param, code

    @property
    def body(self) -> dict[str, Any]:
        """Return the error as JSON."""
        kind = "invalid_request_error" if self.status_code < HTTPStatus.INTERNAL_SERVER_ERROR else "server_error"
        message = self.detail.encode("utf-8", "backslashreplace").decode()  # it may quote half of a surrogate pair
        return {"error": {"message": message, "type": kind, "param": self.param, "code": self.code}}

    def response(self) -> JSONResponse:
        """Return the error as a response."""
        return JSONResponse(self.body, self.status_code, self.headers)


def bad_request(message: str, param: str | None = None, code: str | None = None) -> ApiError:
    """Return the error for a request that cannot be answered."""
    return ApiError(HTTPStatus.BAD_REQUEST, message, param=param, code=code)


def invalid_fields(errors: Sequence[Any]) -> ApiError:
    """Return the error for a body that pydantic refuses with `errors`."""
    lines = [_line(error) for error in errors]
    place = [part for part in errors[0]["loc"][1:] if isinstance(part, str)]
    param = place[0].encode("utf-8", "backslashreplace").decode() if place else None
    return bad_request("; ".join(dict.fromkeys(lines)), param)


def answer_errors(app: FastAPI) -> None:
    """Have `app` answer with an `ApiError` to whatever it refuses."""

    @app.exception_handler(RequestValidationError)
    async def refuse_fields(_: Request, error: RequestValidationError) -> JSONResponse:
        return invalid_fields(error.errors()).response()

    @app.exception_handler(StarletteException)
    async def refuse(_: Request, error: StarletteException) -> JSONResponse:
        if isinstance(error, ApiError):
            return error.response()
        return ApiError(HTTPStatus(error.status_code), error.detail).response()


def _line(error: Any) -> str:
    """Return the place of an error in the body, and what is wrong there."""
    place = ".".join(str(part) for part in error["loc"][1:] if isinstance(part, int) or part.isidentifier())
    match error["type"]:
        case "extra_forbidden":
            return f"{place}: this server does not support it; leave it out"
        case "json_invalid":
            return "the body is not valid JSON"
        case _ if not place:
            return "the body must be a JSON object, sent with the header Content-Type: application/json"
        case _:
            return f"{place}: {error['msg']}"
