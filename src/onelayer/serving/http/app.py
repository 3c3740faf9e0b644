"""The ASGI application: routes, and around each request its id, admission, count and log line."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Router
from starlette.types import Message, Receive, Scope, Send

from onelayer.prediction.predictor import Predictor
from onelayer.serving import page
from onelayer.serving.access_log import AccessLog
from onelayer.serving.api import health, huggingface, kserve, model_control, triton, v1
from onelayer.serving.api.openapi import describe_api, models_of
from onelayer.serving.api.operations import Operation, allowed_methods, json_response
from onelayer.serving.http.admission import (
    CallerRules,
    HeaderList,
    PredictionTarget,
)
from onelayer.serving.http.allowed_hosts import AllowedHosts
from onelayer.serving.http.body import CallerLeftError
from onelayer.serving.http.cors import CorsPolicy, Headers
from onelayer.serving.limits import Limits
from onelayer.serving.reloading import Reloader
from onelayer.serving.request_context import CALLER_LEFT, RequestContext, request_id
from onelayer.serving.request_errors import RequestError, problem_response, to_problem
from onelayer.serving.service import Service


class App:
    """An ASGI application. Before ``open`` it answers health checks, and 503 to predictions."""

    def __init__(self, service: Service, reloader: Reloader | None = None) -> None:
        self.service = service
        self._reloader = reloader
        self.admission = service.admission
        operations = self._operations()
        self._routes = [operation.route() for operation in operations] + page.routes()
        public = [operation.path for operation in operations if operation.public]
        self._page_paths = {route.path for route in page.routes()}
        # Without a slash at the end, as ``Admission`` compares them.
        self.admission.public_paths = {path.rstrip("/") for path in (*public, *self._page_paths)}
        self._router = Router(self._routes, redirect_slashes=False, default=self._serve_other_path)
        self._openapi: dict[tuple[str, ...], bytes | memoryview] = {}

    def open(self) -> None:
        """Starts to accept predictions. Call it when all models are loaded."""
        self.admission.prediction_targets = {
            quote(operation.path.replace("{name}", name)).encode(): PredictionTarget(
                operation.path, name, operation.answer
            )
            for operation in self._operations()
            if operation.takes is not None
            # Several models share a route without a name. The first model is set last, so it wins.
            for name in reversed(models_of(self.service, operation))
        }
        self.admission.phase = "ready"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._run_lifespan(receive, send)
        if scope["type"] != "http":
            return
        method, path, headers = scope["method"], scope["path"], scope["headers"]
        given_id = next((value for name, value in headers if name == b"x-request-id"), b"")
        context = RequestContext(request_id(given_id), method)
        scope["onelayer.context"], scope["app"] = context, self
        status = CALLER_LEFT

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                answer_headers = MutableHeaders(scope=message)
                answer_headers["x-request-id"] = context.id
                if self.admission.cors.is_on:
                    for name, value in self.admission.cors.headers(_origin_of(headers)):
                        answer_headers.append(name.decode(), value.decode())
                if self.admission.phase == "draining":
                    # The caller's next request then goes to another server.
                    answer_headers["connection"] = "close"
            await send(message)

        refusal = self.admission.refuse_request(
            method, path, headers, scope.get("http_version", "")
        )
        self.admission.enter()
        try:
            if refusal is not None:
                raise refusal
            if method == "OPTIONS":
                await self._answer_options(scope, receive, send_with_headers)
            else:
                await self._router(scope, receive, send_with_headers)
        except (CallerLeftError, asyncio.CancelledError):
            self.service.metrics.left.inc()
        except Exception as error:
            problem = self._problem_of(error, scope)
            await problem_response(problem, context.id, path)(scope, receive, send_with_headers)
        finally:
            self.admission.leave()
            context.route = getattr(scope.get("route"), "path", "none")
            self.service.record(context, status)

    async def _run_lifespan(self, receive: Receive, send: Send) -> None:
        """Answers the ASGI server's events of startup and shutdown."""
        while True:
            event = (await receive())["type"]  # lifespan.startup or lifespan.shutdown
            if event == "lifespan.shutdown":
                await asyncio.to_thread(self.service.batcher.close)
            await send({"type": f"{event}.complete"})
            if event == "lifespan.shutdown":
                return

    def _operations(self) -> list[Operation]:
        """The table of all routes, for the models that are loaded by now."""
        service = self.service

        async def openapi(request: Request) -> Response:
            names = tuple(service.models)
            if names not in self._openapi:
                keys, operations = self.admission.needs_key, self._operations()
                document = await asyncio.to_thread(describe_api, service, operations, keys=keys)
                self._openapi = {names: json_response(document).body}
            return Response(self._openapi[names], media_type="application/json")

        reloader = self._reloader
        return [
            # Predictions come first: a request is compared with one route after the other.
            *v1.operations(service),
            *huggingface.operations(service),
            *kserve.inference(service),
            *triton.operations(service),  # /v2/models/stats comes before /v2/models/{name}
            *kserve.operations(service),
            *(model_control.operations(service, reloader) if reloader else ()),
            *health.operations(service),
            Operation(
                method="GET",
                path="/openapi.json",
                endpoint=openapi,
                summary="This description",
                gives=dict[str, Any],
                public=True,
            ),
        ]

    async def _answer_options(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The methods of a path, and what a browser asks before a request to another origin."""
        methods = allowed_methods(self._routes, scope)
        if not methods:
            raise HTTPException(404)
        headers: Headers = [(b"allow", f"{methods}, OPTIONS".encode())]
        if any(name == b"access-control-request-method" for name, _ in scope["headers"]):
            headers += self.admission.cors.preflight(_origin_of(scope["headers"]), methods)
        response = Response(status_code=204)
        response.raw_headers += headers
        await response(scope, receive, send)

    async def _serve_other_path(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A path with slashes too many is that without them.

        Clients that join addresses make such paths. The routes answer themselves, without a
        redirect: its address would be that of this server, which a proxy may have under another.
        """
        path = _SLASHES.sub("/", scope["path"]).rstrip("/") or "/"
        if path == scope["path"] or scope["type"] != "http":
            raise HTTPException(404)
        scope["path"] = path
        if path in self._page_paths and scope["method"] in ("GET", "HEAD"):
            # The page's own addresses are relative, so it has to have its right one.
            name = path.rpartition("/")[2]
            response = Response(status_code=308, headers={"location": f"../{name}"})
            await response(scope, receive, send)
        else:
            await self._router(scope, receive, send)

    def _problem_of(self, error: Exception, scope: Scope) -> RequestError:
        problem = to_problem(error)
        if isinstance(error, HTTPException) and error.status_code == 405:
            problem.headers = {"allow": allowed_methods(self._routes, scope)}
        return problem


_SLASHES = re.compile("//+")


def _origin_of(headers: HeaderList) -> bytes | None:
    return next((value for name, value in headers if name == b"origin"), None)


def make_app(
    models: Mapping[str, Predictor],
    limits: Limits | None = None,
    *,
    keys: Sequence[str] = (),
    allowed_hosts: Sequence[str] = ("*",),
    cors_origins: Sequence[str] = (),
    access_log: bool = False,
) -> App:
    """An application for any ASGI server, from loaded models by name.

    ``allowed_hosts`` are the names that callers may use for the server besides ``localhost``; ``*``
    allows any. List them if a web page, opened on the server's machine, must not reach it.
    ``cors_origins`` are the origins of web pages that may read the answers.
    """
    log = AccessLog() if access_log else None
    rules = CallerRules(keys, AllowedHosts(allowed_hosts), CorsPolicy(cors_origins))
    app = App(Service(dict(models), limits or Limits(), log, rules))
    app.open()
    return app
