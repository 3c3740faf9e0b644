"""The server's own routes: a model by its name, and a verb for each task."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from onelayer.runtime.output import to_json
from onelayer.serve import schema
from onelayer.serve.body import read_body
from onelayer.serve.problems import RequestError
from onelayer.serve.routing import Operation, answer
from onelayer.serve.service import Asked, Service, description


def operations(service: Service) -> list[Operation]:
    async def predict(request: Request) -> Response:
        name, verb = request.path_params["name"], request.path_params["verb"]
        task = service.model(name).task.name
        if verb != task:
            raise RequestError(404, f"this model is for {task}: /v1/models/{name}/{task}")
        ask = schema.parse(schema.ASK[task], await read_body(request, service.limits))
        inputs = ask.inputs if isinstance(ask.inputs, list) else [ask.inputs]
        asked = Asked([by_role(one) for one in inputs], long=ask.long)
        if isinstance(ask, schema.AskClassify):
            asked = replace(asked, coverage=ask.coverage, abstain=ask.abstain)
        answered = await service.ask(request, name, asked)
        return answer(
            {
                "model": name,
                "predictions": [to_json(one) for one in answered.predictions],
                "tokens": answered.tokens,
                "unread_tokens": answered.unread,
            }
        )

    async def models(request: Request) -> Response:
        return answer({"models": [description(*item) for item in service.models.items()]})

    async def model(request: Request) -> Response:
        name = request.path_params["name"]
        return answer(description(name, service.model(name)))

    return [
        Operation(
            method="POST",
            path="/v1/models/{name}/{verb}",
            endpoint=predict,
            summary="Predict",
        ),
        Operation(method="GET", path="/v1/models", endpoint=models, summary="All models"),
        Operation(method="GET", path="/v1/models/{name}", endpoint=model, summary="A model"),
    ]


def by_role(one: str | schema.Strict) -> dict[str, Any]:
    return {"text": one} if isinstance(one, str) else one.model_dump(exclude_none=True)
