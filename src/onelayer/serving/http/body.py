"""A request's body, counted as it comes in."""

from __future__ import annotations

import asyncio

from starlette.requests import Request

from onelayer.serving.limits import Limits
from onelayer.serving.request_errors import RequestError

_BINARY = ("", "application/octet-stream")


async def read_body(request: Request, limits: Limits, *, binary: bool = False) -> bytes:
    """All of it. Raises RequestError for another type (415), for one that is too large, whatever
    its headers say (413), and for one that comes in too slowly (408)."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    # Triton's client names no type. Of the others a browser has to ask before another site may.
    if media_type != "application/json" and not (binary and media_type in _BINARY):
        raise RequestError(415, "content-type has to be application/json")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise RequestError(415, "the body has to come uncompressed")
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > limits.max_body:
        raise _too_large(limits)
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(limits.body_timeout):
            while True:
                message = await request.receive()
                if message["type"] == "http.disconnect":
                    raise CallerLeftError
                parts.append(message["body"])
                size += len(message["body"])
                if size > limits.max_body:
                    raise _too_large(limits)
                if not message.get("more_body"):
                    return b"".join(parts)
    except TimeoutError:
        detail = f"the body took more than {limits.body_timeout:g} seconds"
        raise RequestError(408, detail, {"connection": "close"}) from None


class CallerLeftError(Exception):
    """The caller has hung up: nobody waits for an answer."""


def _too_large(limits: Limits) -> RequestError:
    detail = f"the body has more than {limits.max_body:,} bytes"
    return RequestError(413, detail, {"connection": "close"})
