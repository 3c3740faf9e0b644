"""Errors as problem JSON (RFC 9457): no path of the machine, no traceback, a request id."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.responses import Response

from onelayer.base.errors import OneLayerError

LONGEST = 500
"""Characters of a detail: it may quote what was sent."""


class RequestError(Exception):
    """What is wrong with a request, as its caller is told."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})


def to_problem(error: Exception) -> RequestError:
    """The one table from error to status. What isn't the caller's fault says nothing of why."""
    match error:
        case RequestError():
            return error
        case HTTPException():
            return RequestError(
                error.status_code, _DETAILS.get(error.status_code, ""), error.headers
            )
        case OneLayerError() if error.http_status < 500:
            return RequestError(error.http_status, str(error))
    return RequestError(500, "the server failed; its log says why, under this request id")


_DETAILS = {
    404: "no such route; /openapi.json lists them",
    405: "the route has other methods",
}


def too_many_in_flight() -> RequestError:
    return RequestError(429, "too many requests at a time", {"retry-after": "1"})


def queue_full(seconds: int) -> RequestError:
    headers = {"retry-after": str(seconds)}
    return RequestError(429, "too much is waiting for the model", headers)


def response(problem: RequestError, request_id: str, path: str) -> Response:
    """As JSON, to a request for this path."""
    return Response(
        _body(problem, request_id, path),
        problem.status,
        headers=problem.headers,
        media_type=_MEDIA_TYPE,
    )


def written(problem: RequestError, request_id: str | None = None, path: str = "") -> bytes:
    """The same as it goes over the wire, from below the application, where no path may be known."""
    body = _body(problem, request_id, path)
    own = {"content-type": _MEDIA_TYPE, "content-length": str(len(body))}
    if request_id is not None:
        own["x-request-id"] = request_id
    lines = "".join(f"{name}: {value}\r\n" for name, value in (own | problem.headers).items())
    start = f"HTTP/1.1 {problem.status} {HTTPStatus(problem.status).phrase}\r\n"
    return f"{start}{lines}\r\n".encode() + body


_MEDIA_TYPE = "application/problem+json"


def _body(problem: RequestError, request_id: str | None, path: str) -> bytes:
    detail = problem.detail
    body: dict[str, str | int] = {
        "type": "about:blank",
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": detail if len(detail) <= LONGEST else detail[:LONGEST] + " …",
    }
    if request_id is not None:
        body["request_id"] = request_id
    if not path.startswith("/v1/"):
        body["error"] = body["detail"]  # clients of other protocols look for it
    return json.dumps(body).encode()
