"""Cross-origin requests: which web pages may read the answers (CORS, the Fetch standard)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from urllib.parse import urlsplit

from onelayer.base.errors import UsageError

Headers = list[tuple[bytes, bytes]]

ANY_ORIGIN = "*"
REQUEST_HEADERS = (
    "accept-encoding",
    "authorization",
    "content-encoding",
    "content-type",
    "inference-header-content-length",
    "x-api-key",
    "x-request-id",
)
"""Headers that pages may send."""
RESPONSE_HEADERS = ("inference-header-content-length", "retry-after", "x-request-id")
"""Headers that pages may read."""
PREFLIGHT_SECONDS = 600
"""How long a browser may remember the answer to its question. After a change of the origins it asks
again at the latest then."""

_DEFAULT_PORTS = {"http": 80, "https": 443}
_HOST_OF_ORIGIN = re.compile(r"\[[0-9a-f:.]+\]|[a-z0-9._-]+")


class CorsPolicy:
    """The origins whose pages may read answers. Credentials of the browser are never allowed.

    Parameters
    ----------
    origins
        Origins such as ``https://app.example``, each compared as a whole; ``*`` allows every page.

    Raises
    ------
    UsageError
        For something that isn't an origin.
    """

    def __init__(self, origins: Sequence[str] = ()) -> None:
        self.any = ANY_ORIGIN in origins
        named = (one for one in origins if one != ANY_ORIGIN)
        self._allowed = frozenset(_origin(one).encode() for one in named)
        self.is_on = bool(origins)

    def allows(self, origin: bytes) -> bool:
        return self.any or origin in self._allowed

    def headers(self, origin: bytes | None) -> Headers:
        """What every answer to a request with this Origin says."""
        found: Headers = []
        if not self.any:
            # A cache must not give the answer for one origin to a page of another.
            found.append((b"vary", b"origin"))
        if origin is not None and self.allows(origin):
            found.append((b"access-control-allow-origin", b"*" if self.any else origin))
            found.append((b"access-control-expose-headers", _joined(RESPONSE_HEADERS)))
        return found

    def preflight(self, origin: bytes | None, methods: str) -> Headers:
        """What the answer to a browser's question before a request says, besides ``headers``."""
        if origin is None or not self.allows(origin):
            return []
        return [
            (b"access-control-allow-methods", methods.encode()),
            (b"access-control-allow-headers", _joined(REQUEST_HEADERS)),
            (b"access-control-max-age", str(PREFLIGHT_SECONDS).encode()),
        ]


def _joined(names: Iterable[str]) -> bytes:
    return ", ".join(names).encode()


def _origin(given: str) -> str:
    """An origin as browsers send it. Raises UsageError."""
    try:
        parts = urlsplit(given.strip().lower())
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    host = parts.netloc.removesuffix(f":{port}")
    only_origin = parts.scheme and not (parts.path or parts.query or parts.fragment)
    if not (only_origin and _HOST_OF_ORIGIN.fullmatch(host)):
        hint = "scheme, host and port: https://app.example, http://localhost:3000, or *"
        raise UsageError(f"--cors-origin {given!r} is not an origin", hint=hint)
    shown = "" if port in (None, _DEFAULT_PORTS.get(parts.scheme)) else f":{port}"
    return f"{parts.scheme}://{host}{shown}"
