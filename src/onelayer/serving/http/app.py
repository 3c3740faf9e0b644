"""The ASGI application: routes, and around each request its id, its key, its count and its line."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Router
from starlette.types import Message, Receive, Scope, Send

from onelayer.prediction.predictor import Predictor
from onelayer.serving import page
from onelayer.serving.access_log import AccessLog
from onelayer.serving.api import health, huggingface, kserve, v1
from onelayer.serving.api.openapi import describe
from onelayer.serving.api.operations import Operation, allowed_methods, json_response
from onelayer.serving.http.admission import Admission
from onelayer.serving.http.api_keys import ApiKeys
from onelayer.serving.http.body import CallerLeftError
from onelayer.serving.limits import Limits
from onelayer.serving.request_context import RequestContext, request_id
from onelayer.serving.request_errors import RequestError, response, to_problem, too_many_in_flight
from onelayer.serving.service import Service


class App:
    """An ASGI application. Its ``service`` has the models and the phase; its ``admission`` is for
    connections that can refuse a request before it comes in."""

    def __init__(self, service: Service, keys: ApiKeys) -> None:
        self.service = service
        self._keys = keys
        operations = self._operations()
        self.admission = Admission(service, self._operations, keys)
        self._routes = [operation.route() for operation in operations] + page.routes()
        # The page, which says nothing of the models, and what load balancers ask.
        free = [operation.path for operation in operations if operation.open]
        self._open = {*free, *(route.path for route in page.routes())}
        self._router = Router(self._routes)
        self._described: dict[tuple[str, ...], bytes | memoryview] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        if scope["type"] != "http":
            return
        headers = Headers(scope=scope)
        context = RequestContext(request_id(headers.get("x-request-id", "")), scope["method"])
        scope["onelayer.context"], scope["app"] = context, self
        status = 499  # as nginx writes that nobody was there any more

        async def send_on(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                more = MutableHeaders(scope=message)
                more["x-request-id"] = context.id
                if self.service.phase == "draining":
                    more["connection"] = "close"  # the next request goes to another server
            await send(message)

        crowded = self.service.crowded
        self.service.came()
        try:
            self._check(scope, headers, crowded)
            await self._router(scope, receive, send_on)
        except (CallerLeftError, asyncio.CancelledError):
            self.service.metrics.left.inc()
        except Exception as error:
            problem = self._problem(error, scope)
            await response(problem, context.id, scope["path"])(scope, receive, send_on)
        finally:
            self.service.went()
            context.route = getattr(scope.get("route"), "path", "none")
            self.service.tell(context, status)

    async def _live(self, receive: Receive, send: Send) -> None:
        """As servers tell an application that they begin and end."""
        while True:
            event = (await receive())["type"]  # lifespan.startup or lifespan.shutdown
            if event == "lifespan.shutdown":
                await asyncio.to_thread(self.service.batcher.close)
            await send({"type": f"{event}.complete"})
            if event == "lifespan.shutdown":
                return

    def _operations(self) -> list[Operation]:
        """The table of all that is answered, with what is known of the models by now."""
        service = self.service

        async def openapi(request: Request) -> Response:
            names = tuple(service.models)
            if names not in self._described:
                keys, operations = bool(self._keys), self._operations()
                document = await asyncio.to_thread(describe, service, operations, keys=keys)
                self._described = {names: json_response(document).body}
            return Response(self._described[names], media_type="application/json")

        return [
            *v1.operations(service),
            *huggingface.operations(service),
            *kserve.operations(service),
            *health.operations(service),
            Operation(
                method="GET",
                path="/openapi.json",
                endpoint=openapi,
                summary="This description",
                gives=dict[str, Any],
                open=True,
            ),
        ]

    def _check(self, scope: Scope, headers: Headers, crowded: bool) -> None:
        if scope["method"] in ("GET", "HEAD") and scope["path"] in self._open:
            return
        if not self._keys.fit(headers):
            raise RequestError(401, "an API key is needed", {"www-authenticate": "Bearer"})
        if crowded:
            raise too_many_in_flight()

    def _problem(self, error: Exception, scope: Scope) -> RequestError:
        problem = to_problem(error)
        if problem.status == 500:
            traceback.print_exception(error)
        if isinstance(error, HTTPException) and error.status_code == 405:
            problem.headers = {"allow": allowed_methods(self._routes, scope)}
        return problem


def make_app(
    models: Mapping[str, Predictor],
    limits: Limits | None = None,
    *,
    keys: Sequence[str] = (),
    access_log: bool = False,
) -> App:
    """A server of models that are loaded, by name. Any ASGI server can run it."""
    log = AccessLog() if access_log else None
    return App(Service(dict(models), limits or Limits(), log, phase="ready"), ApiKeys(keys))
