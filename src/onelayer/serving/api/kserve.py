"""The Open Inference Protocol, version 2, for clients of Triton and KServe.

Tensors have names. They are in the JSON or, with the binary extension, behind it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from onelayer import __version__
from onelayer.prediction.predictor import Predictor
from onelayer.serving.api import schemas as schema
from onelayer.serving.api.operations import (
    BYTES_PER_PREDICTION,
    Operation,
    in_thread_if_large,
    json_response,
)
from onelayer.serving.api.schemas import Strict
from onelayer.serving.api.tensors import array_of, bytes_of, outputs_of, texts_of
from onelayer.serving.http.body import read_body
from onelayer.serving.request_errors import RequestError
from onelayer.serving.scheduler.long_texts import LongTextPolicy
from onelayer.serving.service import PredictionRequest, Service, describe_model
from onelayer.tasks import AnyTask
from onelayer.tasks.predictions import OutputTensor
from onelayer.tasks.protocol import roles_of_lists

HEADER_LENGTH = "inference-header-content-length"
"""Header with the length of the JSON, if tensors' bytes follow it."""

VERSION = "1"
"""The version of every model: a model doesn't change while the server runs."""


class Binary(Strict):
    binary_data_size: Annotated[int, Field(ge=0)] | None = None


class TensorIn(Strict):
    """The values of a role, such as ``text``: shape (n,), or (n, options) for ``options``."""

    name: str
    shape: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1, max_length=2)]
    datatype: Literal["BYTES"]
    parameters: Binary = Binary()
    data: list[str] | list[list[str]] | None = None


class HowOut(Strict):
    binary_data: bool | None = None


class TensorAsked(Strict):
    name: str
    parameters: HowOut = HowOut()


class InferParameters(Strict):
    binary_data_output: bool = False
    long: LongTextPolicy = "window"
    coverage: Annotated[float, Field(gt=0, lt=1)] | None = None
    abstain: Annotated[float, Field(gt=0, lt=1)] | None = None


class InferAsk(Strict):
    id: str | None = None
    parameters: InferParameters = InferParameters()
    inputs: Annotated[list[TensorIn], Field(min_length=1)]
    outputs: list[TensorAsked] | None = None


class TensorOut(Strict):
    name: str
    datatype: Literal["BYTES", "FP32", "INT64"]
    shape: list[int]
    data: list[Any] | None = None
    parameters: Binary | None = None


class Inferred(Strict):
    model_name: str
    model_version: str
    id: str | None = None
    outputs: list[TensorOut]


class ModelReady(Strict):
    ready: bool


class ServerMetadata(Strict):
    name: str
    version: str
    extensions: list[str]


class TensorMetadata(Strict):
    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(Strict):
    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


def operations(service: Service) -> list[Operation]:
    async def server(request: Request) -> Response:
        extensions = ["binary_tensor_data"]
        return json_response({"name": "onelayer", "version": __version__, "extensions": extensions})

    async def metadata(request: Request) -> Response:
        name = request.path_params["name"]
        return json_response(_metadata(name, service.model(name)))

    async def ready(request: Request) -> Response:
        service.model(request.path_params["name"])
        return json_response({"ready": True})

    async def infer(request: Request) -> Response:
        name = request.path_params["name"]
        task = service.model(name).task
        body = await read_body(request, service.admission, binary=True)
        length = _header_length(request, body)
        ask = await in_thread_if_large(length, lambda: schema.parse_body(InferAsk, body[:length]))
        query = PredictionRequest(
            _rows(ask.inputs, memoryview(body)[length:], service.model(name)),
            long=ask.parameters.long,
            coverage=ask.parameters.coverage,
            abstain=ask.parameters.abstain,
        )
        wanted = _wanted(ask, task)
        result = await service.predict(request, name, query)
        predictions = result.predictions
        return await in_thread_if_large(
            len(predictions) * BYTES_PER_PREDICTION,
            lambda: _response(name, ask.id, wanted, predictions),
        )

    return [
        Operation(
            method="POST",
            path="/v2/models/{name}/infer",
            endpoint=infer,
            summary="Predict, for clients of Triton",
            takes=InferAsk,
            gives=Inferred,
        ),
        Operation(
            method="GET",
            path="/v2",
            endpoint=server,
            summary="Name and version of the server",
            gives=ServerMetadata,
        ),
        Operation(
            method="GET",
            path="/v2/models/{name}",
            endpoint=metadata,
            summary="A model's tensors",
            gives=ModelMetadata,
        ),
        Operation(
            method="GET",
            path="/v2/models/{name}/ready",
            endpoint=ready,
            summary="Whether a model is loaded",
            gives=ModelReady,
        ),
    ]


def _metadata(name: str, predictor: Predictor) -> dict[str, Any]:
    def tensor(name: str, datatype: str, *shape: int) -> dict[str, Any]:
        return {"name": name, "datatype": datatype, "shape": [-1, *shape]}

    lists = roles_of_lists(type(predictor.task))
    return {
        "name": name,
        "versions": [VERSION],
        "platform": f"onelayer_{predictor.engine.name}",
        "inputs": [
            tensor(role, "BYTES", *([-1] if role in lists else []))
            for role in describe_model(name, predictor)["inputs"]
        ],
        "outputs": [tensor(o.name, o.datatype, *o.columns) for o in outputs_of(predictor.task)],
    }


def _header_length(request: Request, body: bytes) -> int:
    """The length of the JSON before the tensors' bytes. Raises RequestError."""
    given = request.headers.get(HEADER_LENGTH)
    if given is None:
        return len(body)
    if not (given.isascii() and given.isdecimal()) or int(given[:10]) > len(body):
        raise RequestError(400, f"{HEADER_LENGTH} is no number of the body's bytes")
    return int(given)


def _rows(
    tensors: Sequence[TensorIn], rest: memoryview, predictor: Predictor
) -> list[dict[str, Any]]:
    """Values by role, a dict for each row. Raises RequestError for tensors that don't fit."""
    known = predictor.task.columns.inputs
    lists = roles_of_lists(type(predictor.task))
    columns: dict[str, list[Any]] = {}
    for tensor in tensors:
        if tensor.name not in known:
            raise RequestError(422, f"no input {tensor.name!r:.80}; there are {', '.join(known)}")
        if tensor.name in columns:
            raise RequestError(422, f"input {tensor.name} is there twice")
        size = tensor.parameters.binary_data_size
        if size is not None:
            values, rest = texts_of(rest[:size], size), rest[size:]
        else:
            values = _flat(tensor.data or [])
        columns[tensor.name] = _shaped(tensor, values, several=tensor.name in lists)
    if len(rest):
        raise RequestError(400, "the body has more bytes than its tensors")
    if len(set(map(len, columns.values()))) > 1:
        raise RequestError(422, "the inputs differ in their first dimension")
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _flat(data: Sequence[str | list[str]]) -> list[str]:
    return [text for item in data for text in ([item] if isinstance(item, str) else item)]


def _shaped(tensor: TensorIn, values: list[str], *, several: bool) -> list[Any]:
    """A value for each row: a text, or a list of texts for a role with ``several``."""
    more = tensor.shape[1:]
    if len(values) != math.prod(tensor.shape):
        raise RequestError(422, f"{tensor.name}: {len(values)} values for shape {tensor.shape}")
    if not several:
        if more not in ([], [1]):
            raise RequestError(422, f"{tensor.name}: the shape has to be [n] or [n, 1]")
        return values
    if not more:
        raise RequestError(422, f"{tensor.name}: the shape has to be [n, {tensor.name}]")
    return [values[start : start + more[0]] for start in range(0, len(values), more[0])]


def _wanted(ask: InferAsk, task: AnyTask) -> list[tuple[OutputTensor, bool]]:
    """The requested outputs, and for each whether it is sent as bytes. Raises RequestError."""
    by_default = ask.parameters.binary_data_output
    known = {output.name: output for output in outputs_of(task)}
    if not ask.outputs:
        return [(output, by_default) for output in known.values()]
    wanted = []
    for one in ask.outputs:
        if one.name not in known:
            raise RequestError(422, f"no output {one.name!r:.80}; there are {', '.join(known)}")
        binary = one.parameters.binary_data
        wanted.append((known[one.name], by_default if binary is None else binary))
    return wanted


def _response(
    name: str,
    identity: str | None,
    wanted: Iterable[tuple[OutputTensor, bool]],
    predictions: Sequence[Any],
) -> Response:
    outputs, parts = [], []
    for output, binary in wanted:
        array = array_of(output, predictions)
        tensor: dict[str, Any] = {
            "name": output.name,
            "datatype": output.datatype,
            "shape": list(array.shape),
        }
        if binary:
            parts.append(bytes_of(array, output.datatype))
            tensor["parameters"] = {"binary_data_size": len(parts[-1])}
        else:
            tensor["data"] = array.ravel().tolist()
        outputs.append(tensor)
    values = {"model_name": name, "model_version": VERSION, "outputs": outputs}
    if identity is not None:
        values["id"] = identity
    response = json_response(values)
    if not parts:
        return response
    head = bytes(response.body)
    headers = {HEADER_LENGTH: str(len(head))}
    return Response(head + b"".join(parts), headers=headers, media_type="application/octet-stream")
