"""Compressed bodies: of requests, bounded before they are unpacked, and of answers."""

from __future__ import annotations

import asyncio
import gzip
import zlib

from starlette.responses import Response

from onelayer.serving.request_errors import RequestError

CODINGS = ("gzip", "x-gzip", "deflate")
"""Values of Content-Encoding, besides identity, that requests may have."""
MIN_COMPRESSED_BYTES = 1024
"""Bytes of an answer from which it is compressed. For fewer it takes longer than sending them."""
COMPRESSION_LEVEL = 1
"""The quickest. Higher levels take several times as long for a few percent less."""

_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS


async def unpacked(body: bytes, coding: str, limit: int) -> bytes:
    """The body that was compressed; at most ``limit`` bytes and one more. Raises RequestError for
    bytes that aren't in this coding."""
    return await asyncio.to_thread(_unpack, body, coding, limit)


def _unpack(body: bytes, coding: str, limit: int) -> bytes:
    stream = zlib.decompressobj(wbits=_GZIP_OR_ZLIB)
    try:
        # A few kilobytes may unpack to gigabytes, so it stops one byte beyond the limit.
        found = stream.decompress(body, limit + 1)
    except zlib.error:
        raise RequestError(400, f"the body is not in {coding}") from None
    if len(found) <= limit and (not stream.eof or stream.unused_data):
        raise RequestError(400, f"the body doesn't end where its {coding} does")
    return found


async def compressed(response: Response, accepted: str) -> Response:
    """The answer, compressed if the caller accepts that and it is large enough."""
    if not accepted or len(response.body) < MIN_COMPRESSED_BYTES:
        return response
    coding = next((one for one in _accepted(accepted) if one in CODINGS), None)
    if coding is None:
        return response
    pack = zlib.compress if coding == "deflate" else gzip.compress
    content = await asyncio.to_thread(pack, bytes(response.body), COMPRESSION_LEVEL)
    headers = {
        name: value for name, value in response.headers.items() if name != "content-length"
    } | {"content-encoding": coding, "vary": "accept-encoding"}
    return Response(content, response.status_code, headers)


def _accepted(header: str) -> list[str]:
    """The codings of an Accept-Encoding header, without those of weight 0."""
    found = []
    for item in header.lower().split(","):
        name, _, weight = item.replace(" ", "").partition(";q=")
        if weight.strip("0.") or not weight:
            found.append(name)
    return found
