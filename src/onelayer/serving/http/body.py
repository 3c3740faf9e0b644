"""Reads the body of a request, within the limits of size and time."""

from __future__ import annotations

import asyncio

from starlette.requests import Request
from starlette.types import Receive

from onelayer.serving.http.admission import Admission
from onelayer.serving.http.compression import CODINGS, unpacked
from onelayer.serving.request_errors import RequestError

IDENTITY = "identity"
"""The Content-Encoding of a body that isn't compressed."""
_BINARY = ("", "application/octet-stream")


class CallerLeftError(Exception):
    """The caller has closed the connection, so nobody waits for an answer."""


async def read_body(request: Request, admission: Admission, *, binary: bool = False) -> bytes:
    """Reads the whole body, and unpacks it if it is compressed.

    Raises RequestError for another content type (415), for a body that is too large, compressed or
    not and whatever its headers say (413), and for one that arrives too slowly (408).
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    # Triton's client sends no content type. Before a web page of another site sends one of the
    # other two, its browser asks the server (CORS), which doesn't allow it.
    if media_type != "application/json" and not (binary and media_type in _BINARY):
        raise RequestError(415, "content-type has to be application/json")
    coding = request.headers.get("content-encoding", IDENTITY).lower()
    if coding != IDENTITY and coding not in CODINGS:
        raise RequestError(415, f"content-encoding can be {IDENTITY}, {' or '.join(CODINGS)}")
    length = request.headers.get("content-length", "")
    if length.isdecimal() and (problem := admission.refuse_body(int(length))):
        raise problem
    body = await receive_body(request.receive, admission)
    if coding != IDENTITY:
        body = await unpacked(body, coding, admission.limits.max_body)
        if problem := admission.refuse_body(len(body)):
            raise problem
    return body


async def receive_body(receive: Receive, admission: Admission) -> bytes:
    """The bytes of a body. Raises RequestError if they are too many (413) or too slow (408)."""
    parts: list[bytes] = []
    size = 0
    seconds = admission.limits.body_timeout
    try:
        async with asyncio.timeout(seconds):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise CallerLeftError
                parts.append(message["body"])
                size += len(message["body"])
                if problem := admission.refuse_body(size):
                    raise problem
                if not message.get("more_body"):
                    break
    except TimeoutError:
        detail = f"the body took more than {seconds:g} seconds"
        raise RequestError(408, detail, {"connection": "close"}) from None
    return b"".join(parts)
