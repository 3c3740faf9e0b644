"""Reads the body of a request, within the limits of size and time."""

from __future__ import annotations

import asyncio

from starlette.requests import Request

from onelayer.serving.http.admission import Admission
from onelayer.serving.request_errors import RequestError

_BINARY = ("", "application/octet-stream")


class CallerLeftError(Exception):
    """The caller has closed the connection, so nobody waits for an answer."""


async def read_body(request: Request, admission: Admission, *, binary: bool = False) -> bytes:
    """Reads the whole body.

    Raises RequestError for another content type (415), for a body that is too large, whatever its
    headers say (413), and for one that arrives too slowly (408).
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    # Triton's client sends no content type. Before a web page of another site sends one of the
    # other two, its browser asks the server (CORS), which doesn't allow it.
    if media_type != "application/json" and not (binary and media_type in _BINARY):
        raise RequestError(415, "content-type has to be application/json")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise RequestError(415, "the body has to come uncompressed")
    length = request.headers.get("content-length", "")
    if length.isdecimal() and (problem := admission.refuse_body(int(length))):
        raise problem
    parts: list[bytes] = []
    size = 0
    seconds = admission.limits.body_timeout
    try:
        async with asyncio.timeout(seconds):
            while True:
                message = await request.receive()
                if message["type"] == "http.disconnect":
                    raise CallerLeftError
                parts.append(message["body"])
                size += len(message["body"])
                if problem := admission.refuse_body(size):
                    raise problem
                if not message.get("more_body"):
                    return b"".join(parts)
    except TimeoutError:
        detail = f"the body took more than {seconds:g} seconds"
        raise RequestError(408, detail, {"connection": "close"}) from None
