"""Errors as problem JSON (RFC 9457), with a request id, without paths and tracebacks."""

from __future__ import annotations

import json
import traceback
from collections.abc import Mapping
from functools import cache
from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.responses import Response

from onelayer.base.errors import OneLayerError

MAX_DETAIL = 500
"""Characters of a detail. It may quote the request, which may be long."""


class RequestError(Exception):
    """An error that the caller sees: an HTTP status and a detail."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})


def to_problem(error: Exception) -> RequestError:
    """Maps every error to a status. The details of an internal error go to the server's log."""
    match error:
        case RequestError():
            return error
        case HTTPException():
            return RequestError(
                error.status_code, _DETAILS.get(error.status_code, ""), error.headers
            )
        case OneLayerError() if error.http_status < 500:
            return RequestError(error.http_status, str(error))
    traceback.print_exception(error)
    return RequestError(500, "the server failed; its log says why, under this request id")


_DETAILS = {
    404: "no such route; /openapi.json lists them",
    405: "the route has other methods",
}


def problem_response(problem: RequestError, request_id: str, path: str) -> Response:
    """The answer to a request for this path."""
    return Response(
        _body(problem, request_id, path),
        problem.status,
        headers=problem.headers,
        media_type=_MEDIA_TYPE,
    )


def problem_bytes(problem: RequestError, request_id: str | None = None, path: str = "") -> bytes:
    """The same answer as bytes, for a request that doesn't reach the application. The path may be
    unknown."""
    named = {} if request_id is None else {"x-request-id": request_id}
    body = _body(problem, request_id, path)
    return response_bytes(problem.status, _MEDIA_TYPE, named | problem.headers, body)


def response_bytes(status: int, media_type: str, headers: Mapping[str, str], body: bytes) -> bytes:
    """A whole response of HTTP/1.1."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head = f"content-type: {media_type}\r\ncontent-length: {len(body)}\r\n{lines}\r\n"
    return _status_line(status) + head.encode() + body


@cache
def _status_line(status: int) -> bytes:
    return f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n".encode()


_MEDIA_TYPE = "application/problem+json"


def _body(problem: RequestError, request_id: str | None, path: str) -> bytes:
    detail = problem.detail
    body: dict[str, str | int] = {
        "type": "about:blank",
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": detail if len(detail) <= MAX_DETAIL else detail[:MAX_DETAIL] + " …",
    }
    if request_id is not None:
        body["request_id"] = request_id
    if not path.startswith("/v1/"):
        body["error"] = body["detail"]  # where clients of other protocols look
    return json.dumps(body).encode()
