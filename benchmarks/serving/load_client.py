"""An HTTP load client: requests are prepared as bytes, and one loop drives all sockets.

It shares the machine's cores with the server, so it does as little as possible: a request costs a
send, a receive and parsing the head of the answer. Bodies are counted and discarded.
"""

from __future__ import annotations

import json
import random
import selectors
import socket
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

HOST = "127.0.0.1"
CLOSED = 0
"""The status of a request whose connection closed without an answer."""
REFUSED = -1
"""The status of a request that was not sent, because the connection was refused."""


def post(path: str, body: Any, identity: str = "") -> bytes:
    """A POST of JSON, ready to be sent."""
    content = json.dumps(body, ensure_ascii=False).encode()
    named = f"x-request-id: {identity}\r\n" if identity else ""
    head = (
        f"POST {path} HTTP/1.1\r\nhost: {HOST}\r\ncontent-type: application/json\r\n"
        f"{named}content-length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nhost: {HOST}\r\n\r\n".encode()


@dataclass(frozen=True, slots=True)
class Answer:
    request: int
    """The index of the request in its stream."""
    status: int
    due: float
    """When it was due, by ``time.perf_counter``."""
    seconds: float
    """From then to the complete answer, so it includes any delay of the client."""


@dataclass(slots=True)
class Stream:
    """Requests of one kind, with their own connections."""

    requests: Sequence[bytes]
    """Sent in order; after the last one, again from the first."""
    connections: int
    """The maximum number of concurrent requests."""
    rate: float | None = None
    """Requests a second, at random moments like those of independent clients. None sends the next
    request after each answer."""
    count: int | None = None
    """Ends after this number of requests."""
    answers: list[Answer] = field(default_factory=list)
    sent: int = 0
    _gaps: random.Random = field(default_factory=lambda: random.Random(0))
    _due: float = 0.0

    @property
    def done(self) -> bool:
        return self.sent == self.count

    def due(self) -> float:
        """Seconds after the start at which the next request is due."""
        return self._due

    def take(self) -> int:
        """The next request."""
        if self.rate:
            self._due += self._gaps.expovariate(self.rate)
        self.sent += 1
        return (self.sent - 1) % len(self.requests)

    def seconds(self, *statuses: int) -> list[float]:
        """Latencies of the answers with these statuses."""
        return [answer.seconds for answer in self.answers if answer.status in statuses]


@dataclass(slots=True, eq=False)
class _Connection:
    stream: Stream
    socket: socket.socket | None = None
    request: int = 0
    due: float = 0.0
    received: bytearray = field(default_factory=bytearray)
    missing: int | None = None
    """Bytes of the answer that are still missing; None before its head is complete."""
    status: int = CLOSED
    busy: bool = False


class Client:
    """Drives streams of requests against a port of this machine."""

    def __init__(self, port: int, *streams: Stream) -> None:
        self._port = port
        self._selector = selectors.DefaultSelector()
        self._idle = [
            (stream, deque(_Connection(stream) for _ in range(stream.connections)))
            for stream in streams
        ]
        self._busy = 0

    def run(self, seconds: float, grace: float = 30.0) -> float:
        """Sends for ``seconds``, then waits for open requests. Returns the seconds of sending."""
        start = time.perf_counter()
        end = start + seconds
        while time.perf_counter() < end and not all(stream.done for stream, _ in self._idle):
            self._receive(self._send_due(start, end))
        sent_for = time.perf_counter() - start
        while self._busy and time.perf_counter() < end + grace:
            self._receive(0.1)
        assert not self._busy, f"{self._busy} requests without an answer after {grace} s"
        for connection in chain.from_iterable(idle for _, idle in self._idle):
            self._close(connection)
        self._selector.close()
        return sent_for

    def _send_due(self, start: float, end: float) -> float:
        """Sends due requests. Returns the seconds until the next one is due."""
        wake = end
        for stream, idle in self._idle:
            for _ in range(len(idle)):  # each only once: a refused connection fails at once
                due = start + stream.due()
                if stream.done or due > (now := time.perf_counter()):
                    break
                self._send(idle, due if stream.rate else now)
            if idle and not stream.done:
                wake = min(wake, start + stream.due())
        return max(wake - time.perf_counter(), 0.0)

    def _send(self, idle: deque[_Connection], due: float) -> None:
        connection = idle.popleft()
        connection.request, connection.due = connection.stream.take(), due
        connection.missing, connection.status = None, CLOSED
        connection.received.clear()
        connection.busy = True
        self._busy += 1
        try:
            if connection.socket is None:
                connection.socket = socket.create_connection((HOST, self._port), timeout=30)
                connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._selector.register(connection.socket, selectors.EVENT_READ, connection)
            connection.socket.sendall(connection.stream.requests[connection.request])
        except ConnectionRefusedError:
            connection.status = REFUSED
            self._answered(connection, closed=True)
            time.sleep(0.001)
        except OSError:
            self._answered(connection, closed=True)

    def _receive(self, timeout: float) -> None:
        for key, _ in self._selector.select(timeout):
            connection: _Connection = key.data
            assert connection.socket is not None
            try:
                received = connection.socket.recv(262_144)
            except OSError:
                received = b""
            if not connection.busy:  # its time is up: the connection closes, or says why
                self._close(connection)
            elif not received:
                connection.status = CLOSED
                self._answered(connection, closed=True)
            elif self._take(connection, received):
                self._answered(connection, closed=b"connection: close" in connection.received)

    def _take(self, connection: _Connection, received: bytes) -> bool:
        """Whether the answer is complete."""
        if connection.missing is None:
            connection.received += received
            end = connection.received.find(b"\r\n\r\n")
            if end < 0:
                return False
            body = len(connection.received) - end - 4
            head = connection.received[:end].lower()
            connection.received, connection.status = head, int(head[9:12])
            length = head.find(b"content-length: ")
            assert length >= 0, f"an answer without its length: {head!r}"
            connection.missing = int(head[length + 16 :].split(b"\r\n", 1)[0]) - body
        else:
            connection.missing -= len(received)
        return connection.missing == 0

    def _answered(self, connection: _Connection, *, closed: bool) -> None:
        seconds = time.perf_counter() - connection.due
        stream = connection.stream
        stream.answers.append(
            Answer(connection.request, connection.status, connection.due, seconds)
        )
        connection.busy = False
        self._busy -= 1
        if closed:
            self._close(connection)
        next(idle for of, idle in self._idle if of is stream).append(connection)

    def _close(self, connection: _Connection) -> None:
        if connection.socket is not None:
            self._selector.unregister(connection.socket)
            connection.socket.close()
            connection.socket = None


def quantile(values: Sequence[float], share: float) -> float:
    """The value that this share of them doesn't exceed."""
    return sorted(values)[min(int(share * len(values)), len(values) - 1)]
