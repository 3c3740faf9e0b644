"""The server's own routes, /v1: one for each task, by the name of the model."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from pydantic import create_model
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive

from onelayer.serving.api import schemas as schema
from onelayer.serving.api.operations import (
    BYTES_PER_PREDICTION,
    Operation,
    in_thread_if_large,
    json_response,
    to_json_bytes,
)
from onelayer.serving.api.schemas import Strict
from onelayer.serving.http.body import read_body
from onelayer.serving.request_context import RequestContext
from onelayer.serving.request_errors import RequestError
from onelayer.serving.service import PredictionRequest, Service
from onelayer.tasks import TASKS, AnyTask

P = TypeVar("P")


class Predicted(Strict, Generic[P]):
    """A prediction for each input, in their order; how many tokens they have, special ones and
    windows included, and how many more a length limit left out."""

    model: str
    predictions: list[P]
    tokens: int
    unread_tokens: int


class ServedModel(Strict):
    name: str
    task: str
    labels: list[str]
    thresholds: list[float]
    """Per label: the probability from which it is given, if a text may have several; else empty."""
    range: list[float]
    """The smallest and the largest number of the dev rows, for regress if they are known."""
    inputs: list[str]
    engine: str
    precision: str
    max_length: int
    examples: list[dict[str, str | list[str]]]
    """Inputs that the page offers, from the files of ``--examples``; else empty."""


class Models(Strict):
    models: list[ServedModel]


def operations(service: Service) -> list[Operation]:
    async def models(request: Request) -> Response:
        return json_response(
            {"models": [service.describe(*item) for item in service.models.items()]}
        )

    async def model(request: Request) -> Response:
        name = request.path_params["name"]
        return json_response(service.describe(name, service.model(name)))

    return [
        *(_prediction(service, kind) for kind in TASKS.values()),
        Operation(
            method="GET",
            path="/v1/models",
            endpoint=models,
            summary="All models",
            gives=Models,
        ),
        Operation(
            method="GET",
            path="/v1/models/{name}",
            endpoint=model,
            summary="A model",
            gives=ServedModel,
        ),
    ]


def _response_model(kind: type[AnyTask]) -> type[Predicted[Any]]:
    """The body of an answer, with a name for the OpenAPI document."""
    base: Any = Predicted[kind.prediction_type()]  # type: ignore[misc]
    made: type[Predicted[Any]] = create_model(
        f"{kind.name.title()}Response", __base__=base, __doc__=Predicted.__doc__
    )
    return made


def _prediction(service: Service, kind: type[AnyTask]) -> Operation:
    """The route for predictions of a task."""
    model = schema.ask_model(kind)
    # Of the fields of a query, those that this task has.
    options = [name for name in model.model_fields if name != "inputs"]

    def check_task(name: str) -> None:
        task = service.model(name).task.name
        if kind.name != task:
            raise RequestError(404, f"this model is for {task}: /v1/models/{name}/{task}")

    async def answer(context: RequestContext, body: bytes, receive: Receive | None = None) -> bytes:
        name = context.model
        check_task(name)
        ask = await in_thread_if_large(len(body), lambda: schema.parse_body(model, body))
        inputs = ask.inputs if isinstance(ask.inputs, list) else [ask.inputs]
        query = PredictionRequest(
            [schema.values_by_role(kind, one) for one in inputs],
            **{name: getattr(ask, name) for name in options},
        )
        result = await service.predict(context, name, query, receive)

        def written() -> bytes:
            return to_json_bytes(
                {
                    "model": name,
                    "predictions": [one.to_json() for one in result.predictions],
                    "tokens": result.job.tokens,
                    "unread_tokens": result.job.unread,
                }
            )

        return await in_thread_if_large(len(inputs) * BYTES_PER_PREDICTION, written)

    async def endpoint(request: Request) -> Response:
        name = request.path_params["name"]
        check_task(name)
        body = await read_body(request, service.admission)
        context = RequestContext.of(request)
        context.model = name
        content = await answer(context, body, request.receive)
        return Response(content, media_type="application/json")

    return Operation(
        method="POST",
        path=f"/v1/models/{{name}}/{kind.name}",
        endpoint=endpoint,
        answer=answer,
        summary=f"Predict: {kind.name}",
        takes=model,
        gives=_response_model(kind),
        tasks=(kind.name,),
    )
