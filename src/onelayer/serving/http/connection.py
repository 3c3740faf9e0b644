"""A connection: uvicorn's, with the limits that uvicorn leaves to a proxy in front of it.

It limits the time and size of headers and the number of connections. It ends connections whose
caller doesn't read the answer, and it refuses requests before they become a task.

uvicorn parses the bytes and calls ``on_...``. It makes a ``RequestResponseCycle`` for each request
and starts the application as its task. ``cycle`` is the request that is being read, ``_running``
the one that is being answered. ``pipeline`` has the requests that wait for their turn.
tests/test_uvicorn_contract.py lists all internals of uvicorn that this file uses.
"""

from __future__ import annotations

import asyncio

from httptools import HttpParserError, HttpParserUpgrade
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from onelayer.serving.http.admission import (
    MAX_HEADER_BYTES,
    DirectRequest,
    Rejection,
    headers_too_large,
    server_stops,
)
from onelayer.serving.http.prediction_cycle import PredictionCycle
from onelayer.serving.request_errors import RequestError, problem_bytes
from onelayer.serving.service import Service

SHUTDOWN_GRACE_SECONDS = 0.1
"""Seconds for which a stopping server still reads: requests may be on their way already."""
CLOSE_DELAY_SECONDS = 2.0
"""Seconds that a caller gets to read the refusal of a request that is still being sent."""


def connection_class(service: Service) -> type[HttpToolsProtocol]:
    """A class of connections with this service: uvicorn's ``http`` option makes objects of it."""
    return type("ServiceConnection", (Connection,), {"service": service})


class Connection(HttpToolsProtocol):
    """A connection with one caller."""

    service: Service

    # What the transport reports ------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        # Of the request that is being read. It is sent when the whole request has been read.
        self._rejection: Rejection | None = None
        # Sent after the answers to earlier requests; then the connection closes.
        self._last_answer: bytes | None = None
        self._ignores_input = False
        self._running: RequestResponseCycle | None = None
        self._in_headers = False
        self._in_body = False
        self._wants_upgrade = False
        self._parsed = 0  # how many heads, parts of bodies and ends of messages were found
        self._unparsed_bytes = 0  # received since the last of them
        self._header_timer: asyncio.TimerHandle | None = None
        self._end_timer: asyncio.TimerHandle | None = None
        self._last_request_at = self.loop.time()
        if self.service.admission.too_many_connections(len(self.connections)):
            self._make_room()
        if not transport.is_closing():
            self._start_header_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_header_timer()
        self._end_in(None)
        self._abandon_running()
        self.pipeline.clear()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._ignores_input:
            return
        before = self._parsed
        self._parse(data)
        # What was parsed may have been refused.
        if self._ignores_input or self.transport.is_closing():
            return
        if self._parsed == before:
            # Nothing was completed: headers that never end would fill the memory.
            self._unparsed_bytes += len(data)
            if self._unparsed_bytes > MAX_HEADER_BYTES:
                self._refuse(headers_too_large())
                return
        # The timer runs while headers are read, and while a rejected request is read to its end.
        awaits_headers = not self._in_body and (self._in_headers or self._parsed == before)
        if awaits_headers or self._rejection is not None:
            self._start_header_timer()

    def pause_writing(self) -> None:
        # The caller doesn't read, so answers pile up in memory.
        super().pause_writing()
        self._end_in(self.service.limits.body_timeout)

    def resume_writing(self) -> None:
        super().resume_writing()
        if not self.transport.is_closing():
            self._end_in(None)

    # What the parser finds ------------------------------------------------------------------

    def _parse(self, data: bytes) -> None:
        rest: bytes | memoryview = data
        try:
            while rest and not self._ignores_input:
                try:
                    self.parser.feed_data(rest)
                    return
                except HttpParserUpgrade as paused:
                    # The parser stops after the head; ``args[0]`` is how far it has read.
                    rest = memoryview(rest)[paused.args[0] :]
                    if self._wants_upgrade:
                        self._continue_without_upgrade()
        except HttpParserError:
            self._refuse(RequestError(400, "not a valid HTTP/1.1 request"))

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_headers = True

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_body:  # else it is a trailer, which nobody reads
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                self._refuse(RequestError(400, "this server is no proxy"))
            else:
                self._wants_upgrade = True  # ``_parse`` continues without it
            return
        self._stop_header_timer()
        self._in_headers, self._in_body = False, True
        self._last_request_at = self.loop.time()
        self._progress()
        admission = self.service.admission
        problem = admission.refuse_head(self.url, self.headers)
        problem = problem or admission.refuse_pipelined(len(self.pipeline))
        if problem is not None:
            self._refuse(problem)
        elif not self._ignores_input:
            verdict = self._judge()
            if isinstance(verdict, Rejection):
                self._rejection = verdict
            elif verdict is not None:
                self.cycle = self._running = PredictionCycle(self, self.service, verdict)
                self._start_asgi_task(self.cycle, self.app)
            else:
                super().on_headers_complete()
                if self.scope["http_version"] == "1.0" and self.parser.should_keep_alive():
                    self._keep_alive_as_asked()
                # A request that isn't in the pipeline has been started by uvicorn.
                if not self.pipeline or self.pipeline[0][0] is not self.cycle:
                    self._running = self.cycle

    def on_body(self, body: bytes) -> None:
        self._progress()
        if not self._ignores_input and self._rejection is None:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if self._wants_upgrade:
            return
        self._in_body = False
        self._progress()
        if self._ignores_input:
            return
        if self._rejection is None:
            super().on_message_complete()
        else:
            self._answer_rejection(self._rejection)

    def _continue_without_upgrade(self) -> None:
        """Parses the head again without its Upgrade header.

        A server may ignore Upgrade (RFC 9110 7.8), but the parser stops at it and would read the
        body as a second request.
        """
        method, version = self.parser.get_method(), self.parser.get_http_version().encode()
        kept = [b"%s: %s" % header for header in self.headers if header[0] != b"upgrade"]
        self._wants_upgrade = False
        self.parser.feed_data(
            b"\r\n".join([b"%s %s HTTP/%s" % (method, self.url, version), *kept, b"", b""])
        )

    def _keep_alive_as_asked(self) -> None:
        """Keeps a connection of HTTP/1.0, which only does so if both sides say it."""
        self.cycle.keep_alive = True
        if self.service.admission.phase != "draining":
            self.cycle.default_headers = [
                *self.cycle.default_headers,
                (b"connection", b"keep-alive"),
            ]

    def _progress(self) -> None:
        self._parsed += 1
        self._unparsed_bytes = 0

    # Refusals before there is a task ---------------------------------------------------------

    def _judge(self) -> Rejection | DirectRequest | None:
        """What admission says of a request for predictions; None leaves it to the application.

        Only if no other request is being answered, because answers have to keep the order of the
        requests; and only for usual requests, which leave the connection open.
        """
        parser = self.parser
        usual = parser.should_keep_alive() and parser.get_http_version() == "1.1"
        if self._answering() or not usual:
            return None
        return self.service.admission.judge_before_task(parser.get_method(), self.url, self.headers)

    def _answer_rejection(self, rejection: Rejection) -> None:
        """Sends the rejection. The whole request has been read, so the next one can follow it."""
        self._stop_header_timer()
        self._rejection = None
        self.service.record(rejection.context, rejection.status)
        self.transport.write(rejection.answer)
        super().on_response_complete()

    def _refuse(self, problem: RequestError) -> None:
        """Answers with an error and closes, after the answers to the requests before this one.

        The application never gets the end of such a request.
        """
        if self._ignores_input:
            return
        self._ignores_input = True
        self._rejection = None
        # uvicorn may have started the application with the head of this request. Then its answer is
        # replaced by the refusal. A request in the pipeline is removed from it.
        closing = RequestError(problem.status, problem.detail, {"connection": "close"})
        self._last_answer = problem_bytes(closing)
        in_body = self.cycle is not None and self.cycle.more_body
        if in_body and self.cycle is self._running:
            self._abandon_running()
            self._send_last_answer()
        elif in_body and self.pipeline:
            self.pipeline.popleft()
        elif not self._answering():
            self._send_last_answer()

    def _send_last_answer(self) -> None:
        if self._last_answer is not None and not self.transport.is_closing():
            self.transport.write(self._last_answer)
            self._close_after_delay()

    # Answers and the end ---------------------------------------------------------------------

    def on_response_complete(self) -> None:
        answered = self._running
        if self.pipeline and not self.transport.is_closing():
            self._running = self.pipeline[-1][0]  # uvicorn starts it in the next line
        super().on_response_complete()
        if self.transport.is_closing():
            # What is written is still sent, but a caller who doesn't read can't keep it open.
            self._end_in(self.service.limits.body_timeout)
        elif self._running is not answered:
            return
        elif self._last_answer is not None:
            self._send_last_answer()
        elif answered is not None and answered.more_body:
            # Answered before its body was read, for example with 413.
            self._close_after_delay()

    def shutdown(self) -> None:
        self.loop.call_later(SHUTDOWN_GRACE_SECONDS, self._shut_down)

    def _shut_down(self) -> None:
        if self._rejection is not None:
            self._refuse(server_stops())
        elif not self._in_headers:  # else a request is arriving; its answer closes the connection
            super().shutdown()

    def timeout_keep_alive_handler(self) -> None:
        if self._ignores_input or self._in_headers or not self._is_idle():
            return  # another timer limits what is going on
        if self.transport.get_write_buffer_size():  # close() would wait for the caller to read
            self.transport.abort()
        else:
            super().timeout_keep_alive_handler()

    def _answering(self) -> bool:
        return self._running is not None and not self._running.response_complete

    def _is_idle(self) -> bool:
        return not (self._in_body or self._answering() or self.pipeline)

    def _make_room(self) -> None:
        """Closes the connection that has been idle for longest, so that idle connections don't keep
        others out. If all others are being answered, it closes this one."""
        others = [other for other in self.connections if isinstance(other, Connection)]
        idle = [other for other in others if other is not self and other._is_idle()]
        longest = min(idle, key=lambda other: other._last_request_at, default=self)
        self.connections.discard(longest)  # connection_lost is called later
        longest.transport.abort()

    def _abandon_running(self) -> None:
        """Tells the application that its caller has left."""
        if self._running is not None and self._answering():
            self._running.disconnected = True
            self._running.message_event.set()
            if isinstance(self._running, PredictionCycle):
                self._running.leave()

    def _close_after_delay(self) -> None:
        """Ends our side and closes the connection a little later.

        If a socket is closed with unread bytes, the system resets the connection, and the caller
        may lose the answer.
        """
        self._ignores_input = True
        self.transport.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._end_in(CLOSE_DELAY_SECONDS)

    # Timers ----------------------------------------------------------------------------------

    def _start_header_timer(self) -> None:
        if self._header_timer is None:
            seconds = self.service.limits.header_timeout
            self._header_timer = self.loop.call_later(seconds, self._end_slow_headers)

    def _stop_header_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _end_slow_headers(self) -> None:
        self._header_timer = None
        seconds = f"{self.service.limits.header_timeout:g} seconds"
        if self._rejection is not None:
            self._refuse(RequestError(408, f"the request took more than {seconds}"))
        elif self._in_headers:
            self._refuse(RequestError(408, f"the headers took more than {seconds}"))
        elif not self._answering():
            self.transport.close()

    def _end_in(self, seconds: float | None) -> None:
        """Aborts the connection after ``seconds``, whatever the caller does; None cancels that."""
        if self._end_timer is not None:
            self._end_timer.cancel()
        self._end_timer = None
        if seconds is not None:
            self._end_timer = self.loop.call_later(seconds, self.transport.abort)
