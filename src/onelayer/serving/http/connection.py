"""Connections as uvicorn keeps them, with the limits that it leaves to a proxy: time and size of
the headers, bodies that nobody reads, callers who read nothing, and how many there may be."""

from __future__ import annotations

import asyncio

from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from onelayer.serving.http.admission import Admission, Rejection
from onelayer.serving.limits import Limits
from onelayer.serving.request_errors import RequestError, written

MOST_HEADER_BYTES = 1 << 15
CONNECTIONS_A_REQUEST = 4
"""Connections that may be open for each request that may be under way."""
MOST_PIPELINED = 16
"""Requests of a connection that may wait for the one before them: each takes a hundred times the
memory of its bytes."""
PARTING = 0.1
"""Seconds in which a server that stops still reads what was sent before anyone could know."""
LINGER = 2.0
"""Seconds for a caller to notice that no more of his body is wanted."""


def connections_within(limits: Limits, door: Admission) -> type[HttpToolsProtocol]:
    """The class of connections that keep to these limits and come through this door."""
    return type("LimitedConnection", (Connection,), {"limits": limits, "door": door})


class Connection(HttpToolsProtocol):
    """One caller's connection."""

    limits: Limits
    door: Admission

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._refusal: bytes | None = None
        self._turned_away: Rejection | None = None
        self._deaf = False
        self._running: RequestResponseCycle | None = None
        self._begun = False
        self._in_body = False
        self._progress = 0
        self._bytes_without = 0
        self._header_timer: asyncio.TimerHandle | None = None
        self._end_timer: asyncio.TimerHandle | None = None
        self._asked_at = self.loop.time()
        if len(self.connections) > CONNECTIONS_A_REQUEST * self.limits.max_requests:
            self._make_room()
        if not transport.is_closing():
            self._await_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_header_timer()
        self._end_in(None)
        self._hang_up()
        self.pipeline.clear()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        before = self._progress
        super().data_received(data)
        if self._deaf or self.transport.is_closing():
            return
        if self._progress == before:
            self._bytes_without += len(data)
            if self._bytes_without > MOST_HEADER_BYTES:
                self._refuse(431, "the headers are too large")
                return
        if self._turned_away is not None:
            self._await_headers()  # and what follows them
        elif not self._in_body and (self._begun or self._progress == before):
            self._await_headers()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._begun = True

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_body:  # else a trailer, which nobody reads
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._stop_header_timer()
        self._begun, self._in_body = False, True
        self._asked_at = self.loop.time()
        self._progressed()
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if size > MOST_HEADER_BYTES:
            self._refuse(431, "the headers are too large")
        elif len(self.pipeline) == MOST_PIPELINED:
            self._refuse(429, "too many requests at a time on one connection")
        elif not self._deaf:
            self._turned_away = self._at_the_door()
            if self._turned_away is None:
                super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._progressed()
        if not self._deaf and self._turned_away is None:
            super().on_body(body)

    def on_message_complete(self) -> None:
        self._in_body = False
        self._progressed()
        if self._deaf:
            return
        if self._turned_away is None:
            super().on_message_complete()
        else:
            self._turn_away(self._turned_away)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        answered = self._running
        super().on_response_complete()
        if self.transport.is_closing():
            # What is written goes out first, to a caller who reads it.
            self._end_in(self.limits.body_timeout)
        elif self._running is not answered:
            return  # it was one of several, and the next has begun
        elif self._refusal is not None:
            self._send_refusal()
        elif answered is not None and answered.more_body:
            self._close_after_noticing()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._end_in(self.limits.body_timeout)

    def resume_writing(self) -> None:
        super().resume_writing()
        if not self.transport.is_closing():
            self._end_in(None)

    def shutdown(self) -> None:
        self.loop.call_later(PARTING, self._part)

    def timeout_keep_alive_handler(self) -> None:
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            super().timeout_keep_alive_handler()

    def send_400_response(self, msg: str) -> None:
        self._refuse(400, "no HTTP request that can be read")

    def _progressed(self) -> None:
        self._progress += 1
        self._bytes_without = 0

    def _await_headers(self) -> None:
        if self._header_timer is None:
            seconds = self.limits.header_timeout
            self._header_timer = self.loop.call_later(seconds, self._headers_too_slow)

    def _stop_header_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _headers_too_slow(self) -> None:
        self._header_timer = None
        seconds = self.limits.header_timeout
        if self._turned_away is not None:
            self._refuse(408, f"the request took more than {seconds:g} seconds")
        elif self._begun:
            self._refuse(408, f"the headers took more than {seconds:g} seconds")
        elif not self._answering():
            self.transport.close()

    def _make_room(self) -> None:
        """Whoever has asked for nothing for longest gives way, so that no crowd of silent callers
        shuts out those who ask. Where all are being answered it is the one who comes."""
        silent = [other for other in self.connections if isinstance(other, Connection)]
        silent = [other for other in silent if other is not self and other._asks_nothing()]
        longest = min(silent, key=lambda other: other._asked_at, default=self)
        self.connections.discard(longest)  # its end is heard of later
        longest.transport.abort()

    def _asks_nothing(self) -> bool:
        return not (self._in_body or self._answering() or self.pipeline)

    def _part(self) -> None:
        if self._turned_away is not None:
            self._refuse(503, "the server stops")
        elif not self._begun:  # else a request comes, whose answer says that it's the last
            super().shutdown()

    def _at_the_door(self) -> Rejection | None:
        """What becomes of a request that nothing is unusual about."""
        parser = self.parser
        if (
            self._answering()  # of several, each is answered in its turn
            or self.expect_100_continue
            or parser.should_upgrade()
            or not parser.should_keep_alive()
            or parser.get_http_version() != "1.1"
        ):
            return None
        return self.door.refuses(parser.get_method(), self.url, self.headers)

    def _turn_away(self, refusal: Rejection) -> None:
        """When all of the request is read, so that the next one is found behind it."""
        self._stop_header_timer()
        self._turned_away = None
        self.door.refused(refusal)
        self.transport.write(refusal.answer)
        super().on_response_complete()

    def _answering(self) -> bool:
        return self._running is not None and not self._running.response_complete

    def _hang_up(self) -> None:
        """Tells the application that nobody waits for the answer that it is working on."""
        if self._running is not None and self._answering():
            self._running.disconnected = True
            self._running.message_event.set()

    def _refuse(self, status: int, detail: str) -> None:
        """An answer from below the application, which never sees the end of such a request. Those
        before it get theirs first."""
        if self._deaf:
            return
        self._deaf = True
        self._turned_away = None
        self._refusal = written(RequestError(status, detail, {"connection": "close"}))
        broken_off = self.cycle is not None and self.cycle.more_body
        if broken_off and self.cycle is self._running:
            self._hang_up()
            self._send_refusal()
        elif broken_off and self.pipeline:
            self.pipeline.popleft()
        elif not self._answering():
            self._send_refusal()

    def _send_refusal(self) -> None:
        if self._refusal is not None and not self.transport.is_closing():
            self.transport.write(self._refusal)
            self._close_after_noticing()

    def _close_after_noticing(self) -> None:
        """Closing at once, with bytes unread, would take the answer back before it is read."""
        self._deaf = True
        self._unset_keepalive_if_required()
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._end_in(LINGER)

    def _end_in(self, seconds: float | None) -> None:
        """The connection ends then, whatever its other end does; with None it doesn't have to."""
        if self._end_timer is not None:
            self._end_timer.cancel()
        self._end_timer = None
        if seconds is not None:
            self._end_timer = self.loop.call_later(seconds, self.transport.abort)
