"""The door of a server. Where more comes in than can be done, most of its time would go into saying
so: a request that there is no room for is refused before the application hears of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from starlette.datastructures import Headers

from onelayer.serving.api.openapi import models_of
from onelayer.serving.api.operations import Operation
from onelayer.serving.http.api_keys import ApiKeys
from onelayer.serving.request_context import RequestContext, request_id
from onelayer.serving.request_errors import queue_full, too_many_in_flight, written
from onelayer.serving.service import Service


@dataclass(frozen=True, slots=True)
class Rejection:
    """A request that isn't taken, and its answer as it goes over the wire."""

    context: RequestContext
    answer: bytes


class Admission:
    """Knows the requests that cost something, those for predictions, and whether there is room for
    one more. All others, and those that look unusual, are left to the application."""

    def __init__(
        self, service: Service, operations: Callable[[], Sequence[Operation]], keys: ApiKeys
    ) -> None:
        self._service = service
        self._operations = operations
        self._keys = keys
        self._coming = 0  # tokens of requests that were let in and are not in the line yet
        self._costly: dict[bytes, tuple[str, str]] = {}  # by target, the route and the model

    def refuses(
        self, method: bytes, target: bytes, headers: list[tuple[bytes, bytes]]
    ) -> Rejection | None:
        """What there is no room for; None for all that may go in."""
        service = self._service
        if method != b"POST" or service.phase != "ready":
            return None
        self._costly = self._costly or self._look_up()
        if target not in self._costly:
            return None
        route, model = self._costly[target]
        given = dict(headers)
        length = given.get(b"content-length", b"")
        if not length.isdigit() or int(length) > service.limits.max_body:
            return None
        if not self._keys.fit(Headers(raw=headers)):
            return None
        now = time.perf_counter()
        tokens = service.batcher.tokens(model, int(length))  # it has no more characters than bytes
        if service.crowded:
            problem = too_many_in_flight()
        elif wait := service.batcher.full_for(tokens, now, self._coming):
            problem = queue_full(wait)
        else:
            self._let_in(tokens)
            return None
        identity = request_id(given.get(b"x-request-id", b"").decode("latin-1"))
        context = RequestContext(identity, "POST", route, model, began=now)
        return Rejection(context, written(problem, identity, route))

    def refused(self, refusal: Rejection) -> None:
        """Counts one that went out."""
        self._service.tell(refusal.context, 429)

    def _let_in(self, tokens: int) -> None:
        """Keeps a place in the line: else all that is read in one round of the loop would find the
        same one free. It is given up right before the request's task begins, which joins the line
        before anything else is read."""
        self._coming += tokens
        asyncio.get_running_loop().call_soon(self._has_come, tokens)

    def _has_come(self, tokens: int) -> None:
        self._coming -= tokens

    def _look_up(self) -> dict[bytes, tuple[str, str]]:
        return {
            quote(operation.path.replace("{name}", name)).encode(): (operation.path, name)
            for operation in self._operations()
            if operation.takes is not None
            for name in reversed(models_of(self._service, operation))  # without a name: the first
        }
