"""The ASGI application: routes, and around each request its id, its key, its count and its line."""

from __future__ import annotations

import asyncio
import hmac
import itertools
import re
import secrets
import time
import traceback
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Router
from starlette.types import Message, Receive, Scope, Send

from onelayer.runtime.predictor import Predictor
from onelayer.serve import hub, oip, page, plain, v1
from onelayer.serve.body import CallerLeftError
from onelayer.serve.journal import Journal
from onelayer.serve.limits import Limits
from onelayer.serve.openapi import describe
from onelayer.serve.problems import RequestError, problem_of, response
from onelayer.serve.routing import Operation, allowed, answer
from onelayer.serve.service import Service, Trace

_SANE_ID = re.compile(r"[\w.:/+=-]{1,128}", re.ASCII)


class App:
    """An ASGI application. Its ``service`` has the models and the phase."""

    def __init__(self, service: Service, keys: Sequence[str], *, access_log: bool) -> None:
        self.service = service
        self._keys = [key.encode() for key in keys]
        self._journal = Journal() if access_log else None
        operations = self._operations()
        self._routes = [operation.route() for operation in operations] + page.routes()
        # The page, which says nothing of the models, and what load balancers ask.
        free = [operation.path for operation in operations if operation.open]
        self._open = {*free, *(route.path for route in page.routes())}
        self._router = Router(self._routes)
        self._described: dict[tuple[str, ...], bytes | memoryview] = {}
        self._in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        if scope["type"] != "http":
            return
        began = time.perf_counter()
        headers = Headers(scope=scope)
        trace = Trace(_request_id(headers))
        scope["onelayer.trace"], scope["app"] = trace, self
        status = 499  # as nginx writes that nobody was there any more

        async def send_on(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                more = MutableHeaders(scope=message)
                more["x-request-id"] = trace.id
                if self.service.phase == "draining":
                    more["connection"] = "close"  # the next request goes to another server
            await send(message)

        self._in_flight += 1
        self.service.measures.in_flight.set(self._in_flight)
        try:
            self._check(scope, headers)
            await self._router(scope, receive, send_on)
        except (CallerLeftError, asyncio.CancelledError):
            self.service.measures.left.inc()
        except Exception as error:
            problem = self._problem(error, scope)
            ours = scope["path"].startswith("/v1/")
            await response(problem, trace.id, ours=ours)(scope, receive, send_on)
        finally:
            self._in_flight -= 1
            self.service.measures.in_flight.set(self._in_flight)
            self._tell(scope, trace, status, time.perf_counter() - began)

    async def _live(self, receive: Receive, send: Send) -> None:
        """As servers tell an application that they begin and end."""
        while True:
            event = (await receive())["type"]  # lifespan.startup or lifespan.shutdown
            if event == "lifespan.shutdown":
                await asyncio.to_thread(self.service.batcher.close)
            await send({"type": f"{event}.complete"})
            if event == "lifespan.shutdown":
                return

    def flush(self) -> None:
        """Waits for the log to be written."""
        if self._journal is not None:
            self._journal.flush()

    def _operations(self) -> list[Operation]:
        """The table of all that is answered, with what is known of the models by now."""
        service = self.service

        async def openapi(request: Request) -> Response:
            names = tuple(service.models)
            if names not in self._described:
                keys, operations = bool(self._keys), self._operations()
                document = await asyncio.to_thread(describe, service, operations, keys=keys)
                self._described = {names: answer(document).body}
            return Response(self._described[names], media_type="application/json")

        return [
            *v1.operations(service),
            *hub.operations(service),
            *oip.operations(service),
            *plain.operations(service),
            Operation(
                method="GET",
                path="/openapi.json",
                endpoint=openapi,
                summary="This description",
                gives=dict[str, Any],
                open=True,
            ),
        ]

    def _check(self, scope: Scope, headers: Headers) -> None:
        if scope["method"] in ("GET", "HEAD") and scope["path"] in self._open:
            return
        if self._keys and not self._has_key(headers):
            raise RequestError(401, "an API key is needed", {"www-authenticate": "Bearer"})
        if self._in_flight > self.service.limits.max_requests:
            raise RequestError(429, "too many requests at a time", {"retry-after": "1"})

    def _has_key(self, headers: Headers) -> bool:
        """Compares with every key, and each in a time that tells nothing of it."""
        scheme, _, token = headers.get("authorization", "").partition(" ")
        given = token if scheme.lower() == "bearer" else headers.get("x-api-key", "")
        sent = given.strip().encode("latin-1")  # the bytes that came
        found = [hmac.compare_digest(sent, key) for key in self._keys]
        return any(found)

    def _problem(self, error: Exception, scope: Scope) -> RequestError:
        problem = problem_of(error)
        if problem.status == 500:
            traceback.print_exception(error)
        if isinstance(error, HTTPException) and error.status_code == 405:
            problem.headers = {"allow": allowed(self._routes, scope)}
        return problem

    def _tell(self, scope: Scope, trace: Trace, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "none")
        self.service.measures.answered(route, trace.model, status, seconds)
        if self._journal is not None:
            self._journal.write(
                {
                    "id": trace.id,
                    "method": scope["method"],
                    "route": route,
                    "model": trace.model,
                    "status": status,
                    "texts": trace.texts,
                    "tokens": trace.tokens,
                    "queue_ms": round(trace.queue_ms, 2),
                    "total_ms": round(1000 * seconds, 2),
                }
            )


# The system is asked for randomness once: its answer would let other threads go first.
_new_ids = map(f"{secrets.token_hex(6)}{{:08x}}".format, itertools.count())


def _request_id(headers: Headers) -> str:
    """The caller's own, if it can stand in a log, else a new one."""
    given = headers.get("x-request-id", "")
    return given if _SANE_ID.fullmatch(given) else next(_new_ids)


def make_app(
    models: Mapping[str, Predictor],
    limits: Limits | None = None,
    *,
    keys: Sequence[str] = (),
    access_log: bool = False,
) -> App:
    """A server of models that are loaded, by name. Any ASGI server can run it."""
    return App(
        Service(dict(models), limits or Limits(), phase="ready"), keys, access_log=access_log
    )
