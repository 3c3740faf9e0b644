"""Errors as problem JSON (RFC 9457): no path of the machine, no traceback, a request id."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.responses import Response

from onelayer.errors import OneLayerError

LONGEST = 500
"""Characters of a detail: it may quote what was sent."""


class RequestError(Exception):
    """What is wrong with a request, as its caller is told."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})


def problem_of(error: Exception) -> RequestError:
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


def response(problem: RequestError, request_id: str, *, ours: bool) -> Response:
    """As JSON. ``ours``: of a route that no other protocol knows, whose clients look for an
    ``error``."""
    detail = problem.detail
    body: dict[str, str | int] = {
        "type": "about:blank",
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": detail if len(detail) <= LONGEST else detail[:LONGEST] + " …",
        "request_id": request_id,
    }
    if not ours:
        body["error"] = body["detail"]
    return Response(
        json.dumps(body).encode(),
        problem.status,
        headers=problem.headers,
        media_type="application/problem+json",
    )
