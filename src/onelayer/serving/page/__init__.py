"""The page at ``/`` and the description of the API at ``/docs``. The files are sent as they are.

They refer to each other by relative addresses, so they also work behind a proxy that adds a path.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from hashlib import sha256
from importlib.resources import files
from pathlib import PurePath

from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

PAGES = {"/": "index.html", "/docs": "docs.html"}
STATIC = (
    *("page.css", "icon.svg"),
    *("page.js", "show.js", "words.js", "api.js", "curl.js", "docs.js", "schema.js"),
)
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        # Chromium then refuses to parse text as HTML, for example in innerHTML.
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)


def routes() -> list[Route]:
    """Routes for GET and HEAD of every file."""
    named = PAGES | {f"/static/{name}": name for name in STATIC}
    compressed = [Middleware(GZipMiddleware)]
    return [
        Route(path, _sender(name), name=name, include_in_schema=False, middleware=compressed)
        for path, name in named.items()
    ]


def _sender(name: str) -> Callable[[Request], Awaitable[Response]]:
    content = files("onelayer.serving.page").joinpath(name).read_bytes()
    etag = f'W/"{sha256(content).hexdigest()[:32]}"'  # weak: GZip changes the bytes
    headers = {
        "etag": etag,
        # The browser asks each time, so after an upgrade no page uses an old script.
        "cache-control": "no-cache",
        "content-security-policy": POLICY,
        "referrer-policy": "no-referrer",
        "x-content-type-options": "nosniff",
    }

    async def send(request: Request) -> Response:
        known = request.headers.get("if-none-match", "")
        if etag in (tag.strip() for tag in known.split(",")):
            return Response(status_code=304, headers=headers)
        return Response(content, headers=headers | {"content-type": TYPES[PurePath(name).suffix]})

    return send
