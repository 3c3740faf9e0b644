"""Clients that break the rules, each with the right reaction of a server: its answers, and whether
it then closes the connection (CLOSED) or takes the next request."""

from __future__ import annotations

import contextlib
import gzip
import json
import select
import socket
import ssl
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import chain, repeat
from typing import Any, Literal

HOST = "127.0.0.1"
CLOSED = 0
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER that lets ``close`` send RST."""
DRIP = 0.02
"""Seconds between the pieces of a client that sends slowly."""
PATIENCE = 10.0

MODEL = "model"
MAX_BODY = 100_000
"""The server's ``--max-body`` that the cases assume."""
PATH = f"/v1/models/{MODEL}/classify"
GOOD = json.dumps({"inputs": "a good cat"}).encode()

BOMB = gzip.compress(bytes(50_000_000))
"""A body that unpacks to a thousand times its size."""

AWAIT = None
"""A piece that stands for waiting for an answer."""

Pieces = Callable[[], Iterable[bytes | None]]
Then = Literal["wait", "half-close", "close", "reset"]


@dataclass(frozen=True, slots=True)
class Case:
    name: str
    sends: Pieces
    outcome: tuple[int, ...]
    """Expected statuses in order, CLOSED at a close. Empty if the client doesn't wait."""
    slowly: bool = False
    then: Then = "wait"
    """The client's action after it sent everything."""


def meet(port: int, case: Case) -> tuple[int, ...]:
    """Runs a case against a server and returns the statuses, as in ``Case``."""
    pieces = case.sends()
    with socket.create_connection((HOST, port), timeout=PATIENCE) as connection:
        heard = Ear(connection)
        if case.then == "half-close" and hasattr(socket, "TCP_CORK"):
            # Send the last bytes together with the end, or their answer might come first.
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
        try:
            for piece in pieces:
                if piece is None:
                    heard.listen()
                elif case.slowly and select.select([connection], [], [], DRIP)[0]:
                    break
                else:
                    connection.sendall(piece)
            if case.then == "half-close":
                connection.shutdown(socket.SHUT_WR)
            if case.then == "reset":
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the server closed its reading side; its answers can still be read
        while len(heard.answers) < len(case.outcome) and CLOSED not in heard.answers:
            heard.listen()
        return tuple(heard.answers)


class Ear:
    """Reads the answers of a connection."""

    def __init__(self, connection: socket.socket) -> None:
        self.answers: list[int] = []
        self._connection = connection
        self._received = b""

    def listen(self) -> None:
        """Waits for one more answer, or for the end of the connection."""
        while (whole := _length(self._received)) is None or len(self._received) < whole:
            try:
                more = self._connection.recv(1 << 16)
            except ConnectionResetError:
                more = b""
            if not more:
                assert not self._received, f"half an answer: {self._received[:200]!r}"
                self.answers.append(CLOSED)
                return
            self._received += more
        self.answers.append(int(self._received[9:12]))
        self._received = self._received[whole:]


def _length(received: bytes) -> int | None:
    """Bytes of the first answer, once its head is there."""
    head, end, _ = received.partition(b"\r\n\r\n")
    if not end:
        return None
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    if head[9:12] == b"100":
        return len(head) + 4
    return len(head) + 4 + int(fields[b"content-length"])


# The cases ---------------------------------------------------------------------------------------


def head(
    *lines: str, request: str = f"POST {PATH} HTTP/1.1", kind: str = "application/json"
) -> bytes:
    return "\r\n".join([request, f"host: {HOST}", f"content-type: {kind}", *lines, "", ""]).encode(
        "latin-1"
    )


def sized(body: bytes, *lines: str) -> bytes:
    return head(f"content-length: {len(body)}", *lines) + body


def inputs(value: Any, **options: Any) -> bytes:
    return json.dumps({"inputs": value, **options}).encode()


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


CHUNKED = head("transfer-encoding: chunked")
TO_HTTP2 = (
    "connection: upgrade, http2-settings",
    "upgrade: h2c",
    "http2-settings: AAMAAABkAAQAAP__",
)
HEALTH = f"GET /health HTTP/1.1\r\nhost: {HOST}\r\n\r\n".encode()
LARGE = b'{"inputs": "' + b"a " * MAX_BODY + b'"}'


def case(
    name: str, sends: bytes | Pieces, *outcome: int, slowly: bool = False, then: Then = "wait"
) -> Case:
    pieces = (lambda: [sends]) if isinstance(sends, bytes) else sends
    return Case(name, pieces, outcome, slowly, then)


SLOW = [
    case("sends nothing", b"", CLOSED),
    case(
        "headers byte by byte",
        lambda: (b"%c" % byte for byte in head() * 9),
        408,
        CLOSED,
        slowly=True,
    ),
    case(
        "a header without end",
        lambda: chain([head()[:-2], b"x: "], repeat(b"y")),
        408,
        CLOSED,
        slowly=True,
    ),
    case(
        "a request line without end",
        lambda: chain([b"GET /"], repeat(b"a")),
        408,
        CLOSED,
        slowly=True,
    ),
    case("empty lines without end", lambda: repeat(b"\r\n"), CLOSED, slowly=True),
    case("half a body, then nothing", sized(GOOD)[:-5], 408, CLOSED),
    case(
        "a body byte by byte",
        lambda: chain([head("content-length: 5000")], repeat(b" ")),
        408,
        CLOSED,
        slowly=True,
    ),
    case(
        "chunks of a byte", lambda: chain([CHUNKED], repeat(chunk(b" "))), 408, CLOSED, slowly=True
    ),
    case(
        "a chunk's size byte by byte",
        lambda: chain([CHUNKED], repeat(b"0")),
        408,
        CLOSED,
        slowly=True,
    ),
    case(
        "trailers without end",
        lambda: chain([CHUNKED, chunk(GOOD), b"0\r\n"], repeat(b"x: y\r\n")),
        408,
        CLOSED,
        slowly=True,
    ),
]

LARGE_ONES = [
    case("a length over the limit", sized(LARGE), 413, CLOSED),
    case(
        "a length over the limit, and waits for 100",
        head(f"content-length: {10**9}", "expect: 100-continue"),
        413,
        CLOSED,
    ),
    case("an astronomic length", head(f"content-length: {10**40}"), 400, CLOSED),
    case("one chunk over the limit", CHUNKED + chunk(LARGE) + b"0\r\n\r\n", 413, CLOSED),
    case(
        "many chunks over the limit",
        lambda: chain([CHUNKED], repeat(chunk(b" " * 1000), 1000)),
        413,
        CLOSED,
    ),
    case("a chunk of 16 exabytes", CHUNKED + b"fffffffffffffff0\r\n" + LARGE, 413, CLOSED),
    case("10,000 headers", head(*(f"x-{i}: y" for i in range(10_000))), 431, CLOSED),
    case("a header of 1 MB", head("x: " + "y" * 1_000_000), 431, CLOSED),
    case("a request line of 1 MB", b"GET /" + b"a" * 1_000_000 + b" HTTP/1.1\r\n\r\n", 431, CLOSED),
    case("a chunk extension of 1 MB", CHUNKED + b"1;" + b"x" * 1_000_000 + b"\r\n", 431, CLOSED),
    case(
        "trailers of 1 MB",
        CHUNKED + chunk(GOOD) + b"0\r\n" + b"x: y\r\n" * 170_000 + b"\r\n",
        431,
        CLOSED,
    ),
    case("90,000 empty texts", sized(inputs([""] * 20_000)), 422),
    case("one word of 90,000 letters", sized(inputs("a" * 90_000)), 200),
    case(
        "30,000 combining marks",
        sized(json.dumps({"inputs": "e" + "\u0301" * 15_000}).encode()),
        200,
    ),
]

JSON = [
    case("no body", head("content-length: 0"), 400),
    case("no JSON", sized(b"inputs=a"), 400),
    case("half of the JSON", sized(GOOD[:-5]), 400),
    case("two JSON values", sized(GOOD + GOOD), 400),
    case("90,000 lists in lists", sized(b"[" * 90_000), 400),
    case("45,000 lists in lists, closed", sized(b"[" * 45_000 + b"]" * 45_000), 400),
    case("objects in objects", sized(b'{"inputs":' * 9000 + b"1" + b"}" * 9000), 400),
    case("lists as inputs", sized(b'{"inputs":' + b"[" * 500 + b"]" * 500 + b"}"), 422),
    case("NaN", sized(b'{"inputs": "a", "coverage": NaN}'), 400),
    case("-Infinity", sized(b'{"inputs": "a", "coverage": -Infinity}'), 400),
    case("1e999", sized(b'{"inputs": "a", "coverage": 1e999}'), 422),
    case(
        "a number of 50,000 digits",
        sized(b'{"inputs": "a", "coverage": ' + b"9" * 50_000 + b"}"),
        400,
    ),
    case("a tiny number", sized(b'{"inputs": "a", "coverage": 1e-400}'), 422),
    case("a key twice", sized(b'{"inputs": "a", "inputs": "b"}'), 400),
    case("an unknown key", sized(inputs("a", trust_remote_code=True)), 422),
    case("a number as text", sized(inputs(1)), 422),
    case("null", sized(inputs(None)), 422),
    case("invalid UTF-8", sized(b'{"inputs": "\xff\xfe"}'), 400),
    case("overlong UTF-8", sized(b'{"inputs": "\xc0\xae"}'), 400),
    case("UTF-16", sized(GOOD.decode().encode("utf-16")), 400),
    case("a byte order mark", sized(b"\xef\xbb\xbf" + GOOD), 400),
    case("half a surrogate pair", sized(b'{"inputs": "\\ud800"}'), 400),
    case("half a surrogate pair in a key", sized(b'{"inputs": "a", "\\udfff": 1}'), 400),
    case("a whole surrogate pair", sized(b'{"inputs": "\\ud83d\\ude00"}'), 200),
    case("an escaped null", sized(b'{"inputs": "a\\u0000b"}'), 200),
    case("a null byte", sized(b'{"inputs": "a\0b"}'), 400),
    case("only control characters", sized(b'{"inputs": "\\u0001\\u200b\\u202e"}'), 200),
    case(
        "compressed, with a broken body",
        sized(b"\x1f\x8b\x08" + b"\0" * 100, "content-encoding: gzip"),
        400,
    ),
    case("compressed", sized(gzip.compress(GOOD), "content-encoding: gzip"), 200),
    case("compressed zeros without end", sized(BOMB, "content-encoding: gzip"), 413, CLOSED),
    case("in a coding that nobody knows", sized(GOOD, "content-encoding: br"), 415),
    case(
        "a form",
        head("content-length: 8", kind="application/x-www-form-urlencoded") + b"inputs=a",
        415,
    ),
]

FRAMING = [
    case(
        "both lengths",
        head("content-length: 5", "transfer-encoding: chunked") + b"0\r\n\r\n",
        400,
        CLOSED,
    ),
    case(
        "both lengths, the other way round",
        head("transfer-encoding: chunked", "content-length: 5") + b"0\r\n\r\n",
        400,
        CLOSED,
    ),
    case("two lengths", head("content-length: 5", "content-length: 6") + GOOD, 400, CLOSED),
    case("a negative length", head("content-length: -1") + GOOD, 400, CLOSED),
    case("a length in words", head("content-length: 1e2") + GOOD, 400, CLOSED),
    case("a length with a plus", head("content-length: +5") + GOOD, 400, CLOSED),
    case("a space before the colon", head(f"content-length : {len(GOOD)}") + GOOD, 400, CLOSED),
    case(
        "an unknown transfer coding",
        head("transfer-encoding: xchunked") + b"0\r\n\r\n",
        501,
        CLOSED,
    ),
    case(
        "chunked, then another coding",
        head("transfer-encoding: chunked, identity") + b"0\r\n\r\n",
        400,
        CLOSED,
    ),
    case("compressed, not chunked", head("transfer-encoding: gzip") + GOOD, 501, CLOSED),
    case(
        "compressed, then chunked",
        head("transfer-encoding: gzip, chunked") + chunk(GOOD) + b"0\r\n\r\n",
        501,
        CLOSED,
    ),
    case(
        "compressed and chunked in two headers",
        head("transfer-encoding: gzip", "transfer-encoding: chunked") + b"0\r\n\r\n",
        501,
        CLOSED,
    ),
    case("identity", head("transfer-encoding: identity") + GOOD, 501, CLOSED),
    case("Chunked", head("transfer-encoding: Chunked ") + chunk(GOOD) + b"0\r\n\r\n", 200),
    case("an invalid chunk size", CHUNKED + b"zz\r\n", 400, CLOSED),
    case("a chunk longer than it says", CHUNKED + b"1\r\nabc\r\n0\r\n\r\n", 400, CLOSED),
    case("a line continued", head("x: y", " z") + b"", 400, CLOSED),
    case("a null in a header", head("x: \0"), 400, CLOSED),
    case("a header without a name", head(": y"), 400, CLOSED),
    case(
        "a body longer than it says",
        head(f"content-length: {len(GOOD)}") + GOOD + b"garbage",
        200,
        400,
        CLOSED,
    ),
    case("a hidden second request", sized(GOOD) + sized(b"[]"), 200, 422),
    case(
        "a body shorter than it says, half-closed",
        head("content-length: 500") + GOOD,
        CLOSED,
        then="half-close",
    ),
]

OTHER_PROTOCOLS = [
    case("TLS", lambda: [_hello()], 400, CLOSED),
    case("HTTP/0.9", b"GET /\r\n", 408, CLOSED),
    case("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, CLOSED),
    case("HTTP/3.7", b"GET / HTTP/3.7\r\n\r\n", 400, CLOSED),
    case("SSH", b"SSH-2.0-OpenSSH_9.9\r\n", 400, CLOSED),
    case("random bytes", bytes(range(256)) * 40, 400, CLOSED),
    case("null bytes", b"\0" * 10_000, 400, CLOSED),
    case("an unknown method", head(request=f"BREW {PATH} HTTP/1.1"), 400, CLOSED),
    case("a proxy's CONNECT", head(request="CONNECT example.org:443 HTTP/1.1"), 400, CLOSED),
    case(
        "a WebSocket",
        head(
            "connection: upgrade",
            "upgrade: websocket",
            "sec-websocket-version: 13",
            "sec-websocket-key: eA==",
            request="GET /v1/models HTTP/1.1",
        ),
        200,
    ),
    case("HTTP/2 by upgrade", head(*TO_HTTP2, request="GET /v1/models HTTP/1.1"), 200),
    case("HTTP/2 by upgrade, with a body", sized(GOOD, *TO_HTTP2) + sized(GOOD), 200, 200),
    case(
        "HTTP/2 by upgrade, the body later",
        lambda: [sized(GOOD, *TO_HTTP2)[: -len(GOOD)], GOOD[:5], GOOD[5:] + sized(b"[]")],
        200,
        422,
        slowly=True,
    ),
    case(
        "HTTP/2 by upgrade, with a body in chunks",
        head("transfer-encoding: chunked", *TO_HTTP2) + chunk(GOOD) + b"0\r\n\r\n" + sized(b"[]"),
        200,
        422,
    ),
    case(
        "HTTP/2 by upgrade, with a request as its body",
        lambda: [sized(HEALTH, *TO_HTTP2)[: -len(HEALTH)], HEALTH + sized(GOOD)],
        400,
        200,
        slowly=True,
    ),
    case("HTTP/2 by upgrade, many times", sized(GOOD, *TO_HTTP2) * 17, *[200] * 17),
    case(
        "HTTP/2 by upgrade, too many times", sized(GOOD, *TO_HTTP2) * 99, *[200] * 17, 429, CLOSED
    ),
]


def one_dot_zero(*lines: str) -> bytes:
    request = f"POST {PATH} HTTP/1.0"
    return head(f"content-length: {len(GOOD)}", *lines, request=request) + GOOD


def asks_host(*hosts: str, version: str = "1.1") -> bytes:
    lines = [f"GET /v1/models HTTP/{version}", *(f"host: {host}" for host in hosts), "", ""]
    return "\r\n".join(lines).encode("latin-1")


HOSTS = [
    case("no Host", asks_host() + asks_host("localhost"), 400, 200),
    case("no Host, and a body", sized(GOOD).replace(b"host:", b"x:"), 400),
    case("no Host in HTTP/1.0", asks_host(version="1.0"), 200, CLOSED),
    case("an empty Host", asks_host(""), 400),
    case("two Hosts", asks_host("localhost", "localhost"), 400),
    case("a Host with a user", asks_host("me@localhost"), 400),
    case("a Host with a path", asks_host("localhost/"), 400),
    case("a Host with a word for a port", asks_host("localhost:http"), 400),
    case("localhost", asks_host("LocalHost:80"), 200),
    case("the loopback of IPv6", asks_host("[::1]:8080"), 200),
    case("another site's Host", asks_host("evil.example") + asks_host("localhost"), 421, 200),
    case("another site's Host and port", asks_host("evil.example:8080"), 421),
    case("another site's Host, and a body", sized(GOOD).replace(b"127.0.0.1", b"a.example"), 421),
    case("another site that starts with an allowed name", asks_host("localhost.evil.example"), 421),
    case("another machine's address", asks_host("192.0.2.7:8080"), 421),
]

PATHS = [
    case(f"the path {path}", head(request=f"GET {path} HTTP/1.1"), 404)
    for path in (
        "/static/../../../../etc/passwd",
        "/static/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "/static//etc/passwd",
        "/static/..%5c..%5cetc%5cpasswd",
        "/static/%00",
        "/v1/models/..%2f..%2fetc%2fpasswd",
        "/%ff%fe",
        "/" + "a/" * 10_000,
    )
]

USUAL = [
    case("HTTP/1.0", one_dot_zero(), 200, CLOSED),
    case("HTTP/1.0, kept open", one_dot_zero("connection: Keep-Alive") * 3, 200, 200, 200),
    case(
        "HTTP/1.0, kept open and then not",
        one_dot_zero("connection: keep-alive") + one_dot_zero(),
        *(200, 200, CLOSED),
    ),
    case("HTTP/1.1, to be closed", sized(GOOD, "connection: close"), 200, CLOSED),
    case(
        "the whole address as target", sized(GOOD).replace(b"/v1", b"http://localhost/v1", 1), 200
    ),
    case("a slash at the end", sized(GOOD).replace(b"/classify ", b"/classify/ "), 200),
    case("two slashes", sized(GOOD).replace(b"/v1/", b"//v1/"), 200),
    case("a letter in percents", sized(GOOD).replace(b"/classify ", b"/%63lassify "), 200),
    case("a query", sized(GOOD).replace(b"/classify ", b"/classify?x=1 "), 200),
    case("empty lines before a request", b"\r\n\r\n" + sized(GOOD), 200),
    case(
        "waits for 100 Continue",
        lambda: [sized(GOOD, "expect: 100-continue")[: -len(GOOD)], AWAIT, GOOD],
        *(100, 200),
    ),
    case("a header twice", sized(GOOD, "accept: a", "accept: b", "x-request-id: 1"), 200),
    case("a parameter of the type", sized(GOOD).replace(b"/json", b"/json; charset=utf-8"), 200),
    case("a type in capitals", sized(GOOD).replace(b"application/json", b"Application/JSON"), 200),
    case(
        "chunks with extensions and a trailer",
        head("transfer-encoding: chunked", "trailer: x-t")
        + (b"%X;a=b\r\n%s\r\n" % (len(GOOD), GOOD))
        + b"0\r\nX-T: 1\r\n\r\n"
        + sized(GOOD),
        *(200, 200),
    ),
]

RUDE = [
    case("hangs up after a request", sized(GOOD), then="close"),
    case("hangs up in a body", head("content-length: 500") + GOOD, then="close"),
    case("hangs up in a header", head()[:-4], then="close"),
    case("resets in a body", head("content-length: 500") + GOOD, then="reset"),
    case("resets after a request", sized(GOOD), then="reset"),
    case("closes its half after a request", sized(GOOD), CLOSED, then="half-close"),
    case("closes its half at once", b"", CLOSED, then="half-close"),
    case("many requests at once", sized(GOOD) * 17, *[200] * 17),
    case(
        "many requests at once, then garbage",
        sized(GOOD) * 17 + b"\0\r\n\r\n",
        *[200] * 17,
        400,
        CLOSED,
    ),
    case("too many requests at once", sized(GOOD) * 100, *[200] * 17, 429, CLOSED),
    case("hundred requests at once, and hangs up", sized(GOOD) * 100, then="close"),
    case("hundred requests at once, and resets", sized(GOOD) * 100, then="reset"),
    case(
        "a second request in two parts",
        lambda: [sized(GOOD) + sized(GOOD)[:-5], AWAIT, sized(GOOD)[-5:]],
        200,
        200,
    ),
    case(
        "a second request that is cut off",
        lambda: [sized(GOOD) + CHUNKED, AWAIT, b"zz\r\n"],
        200,
        400,
        CLOSED,
    ),
    case(
        "empty lines after a request",
        lambda: chain([sized(GOOD), AWAIT], repeat(b"\r\n")),
        200,
        CLOSED,
        slowly=True,
    ),
]

GROUPS = {
    "slow": SLOW,
    "large": LARGE_ONES,
    "JSON": JSON,
    "framing": FRAMING,
    "other protocols": OTHER_PROTOCOLS,
    "hosts": HOSTS,
    "paths": PATHS,
    "usual": USUAL,
    "rude": RUDE,
}
CASES = [*chain.from_iterable(GROUPS.values())]


def _hello() -> bytes:
    """The first message of a browser to an https address."""
    sent = ssl.MemoryBIO()
    context = ssl.create_default_context()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), sent, server_hostname=HOST).do_handshake()
    return sent.read()
