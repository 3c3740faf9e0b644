"""A request for predictions that is answered without ASGI.

ASGI's messages, the router and their tasks take longer than all the rest of a small request. So
``Connection`` gives usual requests such a cycle instead of uvicorn's. uvicorn treats it like its
own: it adds what arrives to the body, starts it as a task, and waits for it when the server stops.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from onelayer.serving.http.admission import DirectRequest
from onelayer.serving.http.body import CallerLeftError, receive_body
from onelayer.serving.request_context import CALLER_LEFT
from onelayer.serving.request_errors import problem_bytes, response_bytes, to_problem
from onelayer.serving.service import Service


class PredictionCycle(RequestResponseCycle):
    """A direct request, until it is answered."""

    def __init__(
        self, connection: HttpToolsProtocol, service: Service, request: DirectRequest
    ) -> None:
        super().__init__(
            scope=connection.scope,
            transport=connection.transport,
            flow=connection.flow,
            logger=connection.logger,
            access_logger=connection.access_logger,
            access_log=False,
            default_headers=connection.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=False,
            keep_alive=True,
            on_response=connection.on_response_complete,
        )
        self._service, self._request = service, request
        self._task: asyncio.Task[None] | None = None

    async def run_asgi(self, app: Any) -> None:
        """Answers, and counts the request as the application does."""
        service, context = self._service, self._request.context
        self._task, status = asyncio.current_task(), CALLER_LEFT
        service.admission.enter()
        try:
            content = await self._request.answer(context, await self._whole_body())
            headers = self._headers() | {"x-request-id": context.id}
            await self._send(response_bytes(200, "application/json", headers, content), headers)
            status = 200
        except (CallerLeftError, asyncio.CancelledError):
            service.metrics.left.inc()
            self.transport.close()  # if it is still open, the time to stop is over
        except Exception as error:
            problem = to_problem(error)
            problem.headers |= self._headers()
            status = problem.status
            await self._send(problem_bytes(problem, context.id, context.route), problem.headers)
        finally:
            service.admission.leave()
            service.record(context, status)

    def leave(self) -> None:
        """Ends the work for a caller who has left."""
        if self._task is not None:
            self._task.cancel()

    async def _whole_body(self) -> bytes:
        if self.more_body or self.disconnected:
            receive: Any = self.receive
            return await receive_body(receive, self._service.admission)
        return bytes(self.body)

    def _headers(self) -> dict[str, str]:
        """Those of every answer."""
        admission = self._service.admission
        of_cors = admission.cors.headers(None) if admission.cors.is_on else ()
        found = {name.decode(): value.decode() for name, value in (*self.default_headers, *of_cors)}
        if not self.keep_alive or admission.phase == "draining":
            found["connection"] = "close"
        return found

    async def _send(self, answer: bytes, headers: dict[str, str]) -> None:
        if self.flow.write_paused:
            await self.flow.drain()
        if self.disconnected:
            return
        self.transport.write(answer)
        self.response_complete = True
        if "connection" in headers:
            self.transport.close()
        self.on_response()
