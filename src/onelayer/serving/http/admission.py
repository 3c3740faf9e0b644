"""Admission: the only module that decides which requests are refused.

Each rule is a method that returns the error for the caller, or None. ``App`` applies the rules to
every request, so they hold under any ASGI server. ``Service`` and ``read_body`` apply those that
need the model or the body. ``Connection`` applies the same rules before a request becomes a task:
refusing is then so cheap that an overloaded server has time for the requests that it accepts.
"""

from __future__ import annotations

import asyncio
import hmac
import math
import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from onelayer.base.errors import Place, UsageError
from onelayer.serving.http.allowed_hosts import AllowedHosts
from onelayer.serving.http.cors import CorsPolicy
from onelayer.serving.limits import Limits
from onelayer.serving.request_context import RequestContext, request_id
from onelayer.serving.request_errors import RequestError, problem_bytes
from onelayer.serving.scheduler.throughput import NO_WORK, Backlog, Work
from onelayer.serving.server_metrics import ServerMetrics

Phase = Literal["loading", "ready", "draining"]
HeaderList = Sequence[tuple[bytes, bytes]]
"""Headers as ASGI and uvicorn have them, with names in lower case."""

JsonAnswer = Callable[[RequestContext, bytes], Awaitable[bytes]]
"""Gives the JSON for a body of JSON. Its model is that of the context."""
JSON = b"application/json"

MAX_HEADER_BYTES = 1 << 15
"""Bytes of a request's target and headers together."""
CONNECTIONS_PER_REQUEST = 4
"""Open connections for each request that may be in flight. Most callers keep a connection open
between their requests."""
MAX_PIPELINED = 16
"""Requests of a connection that may wait for the one before them. Each needs a hundred times the
memory of its bytes."""
LITTLE_MORE = 1.25
"""Times a usual request: estimates of requests that are alike vary as much."""
OVERLOAD_SECONDS = 1.0
"""Seconds since the last refusal after which a burst may queue again."""


@dataclass(frozen=True, slots=True)
class PredictionTarget:
    """What a request target asks for."""

    route: str
    model: str
    answer: JsonAnswer | None
    """None: only the application can answer."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """A request that is refused before it becomes a task, and its answer as bytes."""

    context: RequestContext
    status: int
    answer: bytes


@dataclass(frozen=True, slots=True)
class DirectRequest:
    """An admitted request that is answered without the application."""

    context: RequestContext
    answer: JsonAnswer


@dataclass(frozen=True, slots=True)
class CallerRules:
    """Who may call a server."""

    keys: Sequence[str] = ()
    """API keys: a request needs one of them. Without any the server is open."""
    hosts: AllowedHosts | None = None
    """Names that callers may use for the server; None allows any."""
    cors: CorsPolicy = field(default_factory=CorsPolicy)
    """Web pages that may read the answers."""
    may_reload: bool = False
    """Whether those who may ask for predictions may also have a model loaded again."""


class Admission:
    """Applies the limits; knows how much of them is used.

    Parameters
    ----------
    limits
        What all requests together may cost.
    backlog
        The work that is queued or running.
    metrics
        Gets the number of requests in flight.
    callers
        Who may call; by default everybody.
    """

    def __init__(
        self,
        limits: Limits,
        backlog: Backlog,
        metrics: ServerMetrics,
        callers: CallerRules | None = None,
    ) -> None:
        callers = callers or CallerRules()
        self.phase: Phase = "loading"
        self.public_paths: AbstractSet[str] = frozenset()
        """Paths that are read without a key, also from an overloaded server: health, the page and
        the API's description."""
        self.prediction_targets: Mapping[bytes, PredictionTarget] = {}
        """Request targets that ask for predictions."""
        self.needs_key = bool(callers.keys)
        self.cors = callers.cors
        self._may_reload = callers.may_reload
        self._keys = [key.encode() for key in callers.keys]
        self._hosts = callers.hosts or AllowedHosts(["*"])
        self.limits = limits
        self._backlog = backlog
        metrics.in_flight.set_function(lambda: self._in_flight)
        self._in_flight = 0
        self._arriving = NO_WORK
        self._last_queue_refusal = -OVERLOAD_SECONDS

    # Rules -----------------------------------------------------------------------------------

    def refuse_host(
        self, headers: HeaderList, named: Mapping[bytes, bytes], http_version: str
    ) -> RequestError | None:
        """The Host header: exactly one in HTTP/1.1 (RFC 9112), and a name of this server.

        An attacker can point the name of a web page to this machine (DNS rebinding). The
        browser then sends that name as Host, which isn't one of ours.
        """
        host = named.get(b"host")
        if host is None:
            missing = http_version == "1.1"
            return RequestError(400, "an HTTP/1.1 request needs a Host header") if missing else None
        if len(named) < len(headers) and sum(name == b"host" for name, _ in headers) > 1:
            return RequestError(400, "the request has more than one Host header")
        return self._hosts.refuse(host)

    def refuse_key(self, named: Mapping[bytes, bytes]) -> RequestError | None:
        """The API key. The time to compare doesn't tell how much of a key was right."""
        if not self._keys:
            return None
        scheme, _, token = named.get(b"authorization", b"").partition(b" ")
        sent = token if scheme.lower() == b"bearer" else named.get(b"x-api-key", b"")
        sent = sent.strip()
        found = [hmac.compare_digest(sent, key) for key in self._keys]
        if any(found):
            return None
        return RequestError(401, "an API key is needed", {"www-authenticate": "Bearer"})

    def refuse_count(self) -> RequestError | None:
        """The number of requests in flight."""
        if self._in_flight < self.limits.max_requests:
            return None
        return RequestError(429, "too many requests at a time", {"retry-after": "1"})

    def refuse_queue(self, work: Work, now: float, arriving: Work = NO_WORK) -> RequestError | None:
        """The work before a request: in the queue, and that of requests that are ``arriving``.

        A burst may queue. In an overload a long queue would only make every answer late. So after a
        refusal a request may queue only if the work before it takes no longer than a usual request,
        or than itself if it is little more: then an answer takes about twice as long as on an idle
        server, and a large request's less.
        """
        backlog = self._backlog
        if now - self._last_queue_refusal < OVERLOAD_SECONDS:
            usual = backlog.usual_seconds
            room = max(usual, min(work.seconds, LITTLE_MORE * usual))
            fits = backlog.seconds + arriving.seconds <= room
        else:
            before = backlog.tokens + arriving.tokens
            fits = not before or before + work.tokens <= self.limits.max_waiting
        if fits:
            return None
        self._last_queue_refusal = now
        seconds = max(1, math.ceil(backlog.seconds))
        headers = {"retry-after": str(seconds)}
        return RequestError(429, "too much is waiting for the model", headers)

    def refuse_reload(self, headers: HeaderList) -> RequestError | None:
        """Loading a model again takes memory and time, so it has to be allowed, and web pages may
        never do it. The caller's address tells nothing: behind a proxy it is the proxy's."""
        if not self._may_reload:
            detail = "this server reloads on SIGHUP; --allow-reload allows it over HTTP, too"
            return RequestError(403, detail)
        if any(name == b"origin" for name, _ in headers):
            return RequestError(403, "a web page can't reload a model")
        return None

    def refuse_body(self, size: int) -> RequestError | None:
        """The bytes of a body, received or announced."""
        if size <= self.limits.max_body:
            return None
        detail = f"the body has more than {self.limits.max_body:,} bytes"
        return RequestError(413, detail, {"connection": "close"})

    def refuse_texts(self, count: int) -> RequestError | None:
        """The number of inputs of a request."""
        limit = self.limits.max_texts
        if count <= limit:
            return None
        return RequestError(422, f"{count:,} inputs; a request may have {limit:,}")

    def refuse_while_loading(self) -> RequestError | None:
        if self.phase != "loading":
            return None
        return RequestError(503, "the models are being loaded", {"retry-after": "1"})

    def refuse_unless_ready(self) -> RequestError | None:
        """For the readiness check. A draining server answers requests but wants no new callers."""
        if self.phase == "ready":
            return None
        return RequestError(503, self.phase, {"retry-after": "1"})

    def refuse_head(self, target: bytes, headers: HeaderList) -> RequestError | None:
        """The size of a request's head, and its transfer encoding."""
        size, encodings = len(target), []
        for name, value in headers:
            size += len(name) + len(value)
            if name == b"transfer-encoding":
                encodings.append(value.strip().lower())
        if size > MAX_HEADER_BYTES:
            return headers_too_large()
        if encodings and encodings != [b"chunked"]:
            return RequestError(501, "the only Transfer-Encoding here is chunked")
        return None

    def refuse_pipelined(self, waiting: int) -> RequestError | None:
        if waiting < MAX_PIPELINED:
            return None
        return RequestError(429, "too many requests at a time on one connection")

    def too_many_connections(self, count: int) -> bool:
        return count > CONNECTIONS_PER_REQUEST * self.limits.max_requests

    # Where they apply ------------------------------------------------------------------------

    def refuse_request(
        self, method: str, path: str, headers: HeaderList, http_version: str
    ) -> RequestError | None:
        """Rules for every request, by its head alone."""
        named = dict(headers)
        if problem := self.refuse_host(headers, named, http_version):
            return problem
        if method == "OPTIONS":  # browsers send no key with their questions before a request
            return None
        if method in ("GET", "HEAD") and path.rstrip("/") in self.public_paths:
            return None
        return self.refuse_key(named) or self.refuse_count()

    def judge_before_task(
        self, method: bytes, target: bytes, headers: HeaderList
    ) -> Rejection | DirectRequest | None:
        """Rules for a request for predictions, before a task is made for it.

        Returns None for all other requests, and for requests that look unusual or break another
        rule: the application handles them.
        """
        if method != b"POST" or target not in self.prediction_targets or self.phase != "ready":
            return None
        named = dict(headers)
        length = named.get(b"content-length", b"")
        if (
            not length.isdigit()
            or b"expect" in named
            or (self.cors.is_on and b"origin" in named)
            or self.refuse_body(int(length))
            or self.refuse_host(headers, named, "1.1")
            or self.refuse_key(named)
        ):
            return None
        asked = self.prediction_targets[target]
        now = time.perf_counter()
        # An upper bound: a body has at least as many bytes as characters.
        work = self._backlog.estimate(asked.model, int(length))
        problem = self.refuse_count() or self.refuse_queue(work, now, self._arriving)
        identity = request_id(named.get(b"x-request-id", b""))
        context = RequestContext(identity, "POST", asked.route, asked.model, started=now)
        if problem is not None:
            answer = problem_bytes(problem, identity, asked.route)
            return Rejection(context, problem.status, answer)
        self._reserve(work)
        media_type = named.get(b"content-type", b"").partition(b";")[0].strip().lower()
        if asked.answer is None or media_type != JSON or b"content-encoding" in named:
            return None
        return DirectRequest(context, asked.answer)

    def enter(self) -> None:
        """Counts a request that the application starts to handle."""
        self._in_flight += 1

    def leave(self) -> None:
        """Counts a request that has been answered."""
        self._in_flight -= 1

    def _reserve(self, work: Work) -> None:
        """Reserves room in the queue until the request's task starts.

        Otherwise all requests that are read in one round of the event loop would see the same free
        room. In the next round the tasks join the queue before more is read.
        """
        before = self._arriving
        self._arriving = Work(before.tokens + work.tokens, before.seconds + work.seconds)
        if not before.tokens:
            asyncio.get_running_loop().call_soon(self._release)

    def _release(self) -> None:
        self._arriving = NO_WORK


def headers_too_large() -> RequestError:
    return RequestError(431, "the headers are too large")


def server_stops() -> RequestError:
    """For a request that hasn't arrived completely when the server closes its connections."""
    return RequestError(503, "the server stops")


def read_api_keys(path: Path | None) -> list[str]:
    """API keys from a file with one per line, or from ONELAYER_API_KEY. Raises UsageError."""
    if path is None:
        key = os.environ.get("ONELAYER_API_KEY", "").strip()
        return [key] if key else []
    with path.open(encoding="utf-8") as file:
        keys = [line.strip() for line in file if line.strip()]
    if not keys:
        raise UsageError("no API key in it", place=Place(path))
    return keys
