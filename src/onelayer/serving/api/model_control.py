"""Routes that load a model again: our own, and Triton's."""

from __future__ import annotations

from typing import Any

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from onelayer.serving.api import schemas as schema
from onelayer.serving.api.kserve import TAG
from onelayer.serving.api.operations import Operation, json_response
from onelayer.serving.api.schemas import Borrowed
from onelayer.serving.api.v1 import ServedModel
from onelayer.serving.http.body import read_body
from onelayer.serving.reloading import Reloader
from onelayer.serving.request_errors import RequestError
from onelayer.serving.service import Service

STATUSES = (403, 409)


class LoadRequest(Borrowed):
    parameters: dict[str, Any] = Field(default_factory=dict)


def operations(service: Service, reloader: Reloader) -> list[Operation]:
    def check(request: Request) -> None:
        if problem := service.admission.refuse_reload(request.scope["headers"]):
            raise problem

    async def reload(request: Request) -> Response:
        check(request)
        name = request.path_params["name"]
        return json_response(service.describe(name, await reloader.reload(name)))

    async def load(request: Request) -> Response:
        check(request)
        body = await read_body(request, service.admission, binary=True)
        if body and (given := schema.parse_body(LoadRequest, body).parameters):
            name = next(iter(given))
            raise RequestError(422, f"parameters.{name:.80}: a model is loaded as its directory is")
        await reloader.reload(request.path_params["name"])
        return json_response({})

    return [
        Operation(
            method="POST",
            path="/v1/models/{name}/reload",
            endpoint=reload,
            summary="Load a model again, and answer with it from then on",
            gives=ServedModel,
            statuses=STATUSES,
        ),
        Operation(
            method="POST",
            path="/v2/repository/models/{name}/load",
            endpoint=load,
            summary="Load a model again, for clients of Triton",
            gives=dict[str, Any],
            tag=TAG,
            statuses=(*STATUSES, 413, 415, 422),
        ),
    ]
