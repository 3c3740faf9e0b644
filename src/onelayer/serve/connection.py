"""Connections as uvicorn keeps them, with the limits that it leaves to a proxy: time and size of
the headers, bodies that nobody reads, callers who read nothing, and how many there may be."""

from __future__ import annotations

import asyncio
import json
from http import HTTPStatus

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from onelayer.serve.limits import Limits

MOST_HEADER_BYTES = 1 << 15
CONNECTIONS_A_REQUEST = 4
"""Connections that may be open for each request that may be under way."""
LINGER = 2.0
"""Seconds for a caller to notice that no more of his body is wanted."""


def connections_within(limits: Limits) -> type[HttpToolsProtocol]:
    """The class of connections that keep to these limits."""
    return type("LimitedConnection", (Connection,), {"limits": limits})


class Connection(HttpToolsProtocol):
    """One caller's connection."""

    limits: Limits

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._refused = False
        self._header_bytes = 0
        self._in_headers = True
        self._timer: asyncio.TimerHandle | None = None
        if len(self.connections) > CONNECTIONS_A_REQUEST * self.limits.max_requests:
            transport.abort()
            return
        self._await_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        super().data_received(data)
        if self._refused or self.transport.is_closing() or not self._in_headers:
            return
        self._header_bytes += len(data)
        if self._header_bytes > MOST_HEADER_BYTES:
            self._refuse(431, "the headers are too large")
        elif self._timer is None:
            self._await_headers()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_headers = True
        self._header_bytes = 0

    def on_headers_complete(self) -> None:
        self._in_headers = False
        self._stop_timer()
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if size > MOST_HEADER_BYTES:
            self._refuse(431, "the headers are too large")
        else:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if not self._refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if not self._refused:
            super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.is_closing():
            # What is written goes out first, to a caller who reads it.
            self.loop.call_later(self.limits.body_timeout, self.transport.abort)
        elif self.cycle.more_body:
            self._close_after_noticing()

    def timeout_keep_alive_handler(self) -> None:
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            super().timeout_keep_alive_handler()

    def send_400_response(self, msg: str) -> None:
        self._refuse(400, "no HTTP request that can be read")

    def _await_headers(self) -> None:
        self._timer = self.loop.call_later(self.limits.header_timeout, self._headers_too_slow)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _headers_too_slow(self) -> None:
        self._timer = None
        if self._header_bytes:
            seconds = self.limits.header_timeout
            self._refuse(408, f"the headers took more than {seconds:g} seconds")
        else:
            self.transport.close()

    def _refuse(self, status: int, detail: str) -> None:
        """An answer from below the application, which never sees such a request."""
        self._refused = True
        title = HTTPStatus(status).phrase
        problem = {"type": "about:blank", "title": title, "status": status, "detail": detail}
        body = json.dumps(problem).encode()
        head = (
            f"HTTP/1.1 {status} {title}\r\ncontent-type: application/problem+json\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        if not self.transport.is_closing():
            self.transport.write(head.encode() + body)
            self._close_after_noticing()

    def _close_after_noticing(self) -> None:
        """Closing at once, with bytes unread, would take the answer back before it is read."""
        self._refused = True
        self._unset_keepalive_if_required()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.loop.call_later(LINGER, self.transport.abort)
