"""Health checks for load balancers, and metrics for Prometheus."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from onelayer.serving.api.operations import Operation, json_response
from onelayer.serving.api.schemas import Health
from onelayer.serving.server_metrics import MEDIA_TYPE
from onelayer.serving.service import Service


def operations(service: Service) -> list[Operation]:
    async def live(request: Request) -> Response:
        return json_response({"status": "ok"})

    async def ready(request: Request) -> Response:
        if problem := service.admission.refuse_unless_ready():
            raise problem
        return json_response({"status": "ok"})

    async def metrics(request: Request) -> Response:
        return Response(service.metrics.exposition(), media_type=MEDIA_TYPE)

    health = [
        *(
            (path, live, "Whether the server runs")
            for path in ("/health", "/health/live", "/v2/health/live")
        ),
        *(
            (path, ready, "Whether the server accepts requests")
            for path in ("/health/ready", "/v2/health/ready")
        ),
    ]
    return [
        *(
            Operation(
                method="GET",
                path=path,
                endpoint=endpoint,
                summary=summary,
                gives=Health,
                public=True,
                tag="health",
                statuses=(503,) if endpoint is ready else (),
            )
            for path, endpoint, summary in health
        ),
        Operation(
            method="GET",
            path="/metrics",
            endpoint=metrics,
            summary="Metrics for Prometheus",
            gives="text/plain",
            tag="health",
        ),
    ]
