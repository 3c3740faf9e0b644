"""Health and measures: what machines ask of a server."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from onelayer.serve.measures import MEDIA_TYPE
from onelayer.serve.problems import RequestError
from onelayer.serve.routing import Operation, answer
from onelayer.serve.service import Service


def operations(service: Service) -> list[Operation]:
    async def live(request: Request) -> Response:
        return answer({"status": "ok"})

    async def ready(request: Request) -> Response:
        if service.phase != "ready":
            raise RequestError(503, f"{service.phase}", {"retry-after": "1"})
        return answer({"status": "ok"})

    async def measures(request: Request) -> Response:
        return Response(service.measures.page(), media_type=MEDIA_TYPE)

    return [
        Operation(method="GET", path="/health", endpoint=live, summary="Whether it runs"),
        Operation(method="GET", path="/health/live", endpoint=live, summary="Whether it runs"),
        Operation(
            method="GET",
            path="/health/ready",
            endpoint=ready,
            summary="Whether it takes requests",
            statuses=(503,),
        ),
        Operation(
            method="GET",
            path="/metrics",
            endpoint=measures,
            summary="Prometheus's figures",
            gives=MEDIA_TYPE,
        ),
    ]
