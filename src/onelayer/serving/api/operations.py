"""Operations: one entry per method and path; routing and the OpenAPI document follow from it."""

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

T = TypeVar("T")

Endpoint = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """What a method of a path does, takes and gives back."""

    method: str
    path: str
    endpoint: Endpoint
    summary: str
    takes: Any = None
    """The type of the request's body, as pydantic reads types."""
    gives: Any = None
    """The type of the answer, or its media type if it isn't JSON."""
    tasks: Sequence[str] | None = None
    """It exists if a model of one of these tasks is served; None: of any task."""
    open: bool = False
    """Whether it needs no key and is answered however busy the server is."""
    statuses: Sequence[int] = ()
    """Statuses of its problems, besides those that follow from the other fields."""

    def route(self) -> Route:
        return Route(self.path, self.endpoint, methods=[self.method])


# Made once: json.dumps makes an encoder per call unless all options are its defaults.
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


LARGE_REQUEST_BYTES = 1 << 15
"""Bytes to parse, or as much other work, from which other callers notice a busy event loop."""

BYTES_PER_PREDICTION = 512
"""Bytes whose parsing is as much work as writing a prediction."""


async def in_thread_if_large(size: int, work: Callable[[], T]) -> T:
    """Runs ``work`` in another thread if it is as much as parsing a large request."""
    return work() if size < LARGE_REQUEST_BYTES else await asyncio.to_thread(work)


def json_response(value: Any, status: int = 200) -> Response:
    """A value as JSON."""
    return Response(_encode(value).encode(), status, media_type="application/json")


def allowed_methods(routes: Sequence[Route], scope: Scope) -> str:
    """The methods of a path, for the Allow header."""
    methods: set[str] = set()
    for route in routes:
        if route.matches(scope)[0] != Match.NONE:
            methods |= route.methods or set()
    return ", ".join(sorted(methods))
