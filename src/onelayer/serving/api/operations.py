"""A table of operations: each is one entry there; how it is answered and described follows."""

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
    """What a method of a path does, takes and gives."""

    method: str
    path: str
    endpoint: Endpoint
    summary: str
    takes: Any = None
    """The type of its body, as pydantic reads types."""
    gives: Any = None
    """The type of its answer, or the media type of one that isn't JSON."""
    tasks: Sequence[str] | None = None
    """Without a model of one of these it isn't there; None: of any."""
    open: bool = False
    """Whether it needs no key and is answered however much there is to do."""
    statuses: Sequence[int] = ()
    """Of its problems, beside those that follow from the rest."""

    def route(self) -> Route:
        return Route(self.path, self.endpoint, methods=[self.method])


# Made once: json.dumps makes one for each call that isn't by its defaults.
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


LARGE_REQUEST_BYTES = 1 << 15
"""Bytes, or about as much work: from here on others would notice that the event loop is busy."""


BYTES_PER_PREDICTION = 512
"""Bytes that writing one is as much work as reading."""


async def in_thread_if_large(size: int, work: Callable[[], T]) -> T:
    """Does it in another thread where that is a lot."""
    return work() if size < LARGE_REQUEST_BYTES else await asyncio.to_thread(work)


def json_response(value: Any, status: int = 200) -> Response:
    """A value as JSON."""
    return Response(_encode(value).encode(), status, media_type="application/json")


def allowed_methods(routes: Sequence[Route], scope: Scope) -> str:
    """The methods that a path has."""
    methods: set[str] = set()
    for route in routes:
        if route.matches(scope)[0] != Match.NONE:
            methods |= route.methods or set()
    return ", ".join(sorted(methods))
