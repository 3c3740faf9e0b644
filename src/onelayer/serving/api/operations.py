"""Operations: one entry per method and path, from which routing and the OpenAPI document follow."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import Scope

from onelayer.serving.http.admission import JsonAnswer

T = TypeVar("T")

Endpoint = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """A method of a path: its endpoint, and the types of its request and answer."""

    method: str
    path: str
    endpoint: Endpoint
    summary: str
    answer: JsonAnswer | None = None
    """Answers as ``endpoint`` does, without ASGI."""
    takes: Any = None
    """The type of the request's body, as pydantic reads types."""
    gives: Any = None
    """The type of the answer, or its media type if it isn't JSON."""
    tasks: Sequence[str] | None = None
    """The document shows it only if a model of one of these tasks is served; None: of any task."""
    public: bool = False
    """Whether it needs no key and is answered even by an overloaded server."""
    tag: str = "onelayer"
    """The heading below which the document has it."""
    statuses: Sequence[int] = ()
    """Its error statuses, besides those that follow from the other fields."""

    def route(self) -> Route:
        return Route(self.path, self.endpoint, methods=[self.method])


# Made once: with options other than the defaults, json.dumps makes an encoder for each call.
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


LARGE_REQUEST_BYTES = 1 << 15
"""Bytes of JSON whose parsing blocks the event loop noticeably for other callers."""

BYTES_PER_PREDICTION = 512
"""Bytes whose parsing takes as long as writing one prediction."""


async def in_thread_if_large(size: int, work: Callable[[], T]) -> T:
    """Runs ``work`` in another thread if it takes as long as parsing a large request."""
    return work() if size < LARGE_REQUEST_BYTES else await asyncio.to_thread(work)


def to_json_bytes(value: Any) -> bytes:
    return _encode(value).encode()


def json_response(value: Any, status: int = 200) -> Response:
    """A value as JSON."""
    return Response(to_json_bytes(value), status, media_type="application/json")


def allowed_methods(routes: Sequence[Route], scope: Scope) -> str:
    """The methods of a path, for the Allow header."""
    methods: set[str] = set()
    for route in routes:
        if route.matches(scope)[0] != Match.NONE:
            methods |= route.methods or set()
    return ", ".join(sorted(methods))
