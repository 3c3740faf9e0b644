"""The Open Inference Protocol, version 2, for clients of Triton and KServe.

Tensors have names. They are in the JSON or, with the binary extension, behind it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, model_validator
from starlette.requests import Request
from starlette.responses import Response

from onelayer import __version__
from onelayer.base.text_offsets import CODE_POINTS, OffsetUnit
from onelayer.prediction.predictor import Predictor
from onelayer.serving.api import schemas as schema
from onelayer.serving.api.operations import (
    BYTES_PER_PREDICTION,
    Operation,
    in_thread_if_large,
    json_response,
)
from onelayer.serving.api.schemas import Borrowed, Strict
from onelayer.serving.api.tensors import array_of, bytes_of, largest, outputs_of, texts_of
from onelayer.serving.http.body import read_body
from onelayer.serving.http.compression import compressed
from onelayer.serving.request_context import RequestContext
from onelayer.serving.request_errors import RequestError
from onelayer.serving.scheduler.long_texts import LongTextPolicy
from onelayer.serving.service import PredictionRequest, Service, describe_model
from onelayer.tasks import AnyTask
from onelayer.tasks.predictions import OutputTensor
from onelayer.tasks.protocol import roles_of_lists

HEADER_LENGTH = "inference-header-content-length"
"""Header with the length of the JSON, if tensors' bytes follow it."""

VERSION = "1"
"""The version of every model. A model that is loaded again takes the place of the earlier one."""

TAG = "Open Inference Protocol (Triton, KServe)"
get_operation = partial(Operation, method="GET", tag=TAG)
"""A method that only reads."""
MODEL_PATHS = (
    ("/v2/models/{name}", ""),
    (f"/v2/models/{{name}}/versions/{VERSION}", ", by its version"),
)
EXTENSIONS = (
    "binary_tensor_data",
    "classification",
    "model_configuration",
    "model_repository",
    "parameters",
    "statistics",
)
"""What of Triton's extensions there is."""


class TensorOptions(Borrowed):
    """Options of one tensor. Those about memory that client and server share are refused."""

    model_config = ConfigDict(extra="allow")

    @model_validator(mode="after")
    def _without_shared_memory(self) -> TensorOptions:
        for name in self.model_extra or ():
            if name.startswith("shared_memory"):
                raise ValueError(f"{name}: send the tensor in the request")
        return self


class InputOptions(TensorOptions):
    binary_data_size: Annotated[int, Field(ge=0)] | None = None


class InputTensor(Borrowed):
    """The values of a role, such as ``text``: shape (n,), or (n, options) for ``options``."""

    name: str
    shape: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1, max_length=2)]
    datatype: Literal["BYTES"]
    parameters: InputOptions = InputOptions()
    data: list[str] | list[list[str]] | None = None


class OutputOptions(TensorOptions):
    binary_data: bool | None = None
    classification: Annotated[int, Field(ge=0)] = 0
    """How many of the largest numbers of a row to return, each as ``number:index:label``."""


class RequestedTensor(Borrowed):
    name: str
    parameters: OutputOptions = OutputOptions()


class InferParameters(Borrowed):
    """Triton's ``priority``, ``timeout``, ``sequence_id`` and parameters that no model here has are
    accepted and ignored, as Triton does."""

    model_config = ConfigDict(extra="allow")

    binary_data_output: bool = False
    long: LongTextPolicy = "window"
    coverage: schema.Share | None = None
    abstain: schema.Share | None = None
    offsets: Annotated[OffsetUnit, Field(description=schema.OFFSETS)] = CODE_POINTS

    @model_validator(mode="after")
    def _without_misspelt_names(self) -> InferParameters:
        known = list(type(self).model_fields)
        for name in self.model_extra or ():
            if alike := get_close_matches(name.lower(), known, n=1, cutoff=0.8):
                raise ValueError(f"no parameter {name!r:.80}; did you mean {alike[0]}?")
        return self


class InferRequest(Borrowed):
    id: str | None = None
    parameters: InferParameters = InferParameters()
    inputs: Annotated[list[InputTensor], Field(min_length=1)]
    outputs: list[RequestedTensor] | None = None


class ResponseTensorSize(Strict):
    binary_data_size: int


class ResponseTensor(Strict):
    name: str
    datatype: Literal["BYTES", "FP32", "INT64"]
    shape: list[int]
    data: list[Any] | None = None
    parameters: ResponseTensorSize | None = None


class InferResponse(Strict):
    """The outputs. ``start`` and ``end``, also those in ``prediction``, count code points or what
    ``offsets`` in the request says."""

    model_name: str
    model_version: str
    id: str | None = None
    outputs: list[ResponseTensor]


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


def inference(service: Service) -> list[Operation]:
    """The routes for predictions."""

    async def infer(request: Request) -> Response:
        name = request.path_params["name"]
        service.model(name)
        body = await read_body(request, service.admission, binary=True)
        length = _header_length(request, body)
        ask = await in_thread_if_large(
            length, lambda: schema.parse_body(InferRequest, body[:length])
        )
        query = PredictionRequest(
            _rows(ask.inputs, memoryview(body)[length:], service.model(name)),
            long=ask.parameters.long,
            coverage=ask.parameters.coverage,
            abstain=ask.parameters.abstain,
            offsets=ask.parameters.offsets,
        )
        wanted = _wanted(ask, service.model(name).task)
        result = await service.predict(RequestContext.of(request), name, query, request.receive)
        predictions = result.predictions
        response = await in_thread_if_large(
            len(predictions) * BYTES_PER_PREDICTION,
            lambda: _response(name, ask.id, wanted, predictions),
        )
        return await compressed(response, request.headers.get("accept-encoding", ""))

    return [
        Operation(
            method="POST",
            path=f"{prefix}/infer",
            endpoint=infer,
            summary=f"Predict, for clients of Triton{of}",
            takes=InferRequest,
            gives=InferResponse,
            tag=TAG,
        )
        for prefix, of in MODEL_PATHS
    ]


def operations(service: Service) -> list[Operation]:
    """The routes about the server and its models."""

    async def server(request: Request) -> Response:
        return json_response({"name": "onelayer", "version": __version__, "extensions": EXTENSIONS})

    async def metadata(request: Request) -> Response:
        name = request.path_params["name"]
        return json_response(metadata_of(name, service.model(name)))

    async def ready(request: Request) -> Response:
        service.model(request.path_params["name"])
        return json_response({"ready": True})

    found = [
        get_operation(
            path="/v2",
            endpoint=server,
            summary="Name and version of the server",
            gives=ServerMetadata,
        )
    ]
    for prefix, of in MODEL_PATHS:
        found += [
            get_operation(
                path=prefix,
                endpoint=metadata,
                summary=f"A model's tensors{of}",
                gives=ModelMetadata,
            ),
            get_operation(
                path=f"{prefix}/ready",
                endpoint=ready,
                summary=f"Whether a model is loaded{of}",
                gives=ModelReady,
            ),
        ]
    return found


def metadata_of(name: str, predictor: Predictor) -> dict[str, Any]:
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
    tensors: Sequence[InputTensor], rest: memoryview, predictor: Predictor
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


def _shaped(tensor: InputTensor, values: list[str], *, several: bool) -> list[Any]:
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


@dataclass(frozen=True, slots=True)
class WantedTensor:
    """An output as a request asks for it."""

    output: OutputTensor
    binary: bool
    """Whether it is sent as bytes behind the JSON."""
    labels: Sequence[str] = ()
    """Names of its columns."""
    classes: int = 0
    """How many of the largest columns are sent; 0 for the tensor itself."""


def _wanted(ask: InferRequest, task: AnyTask) -> list[WantedTensor]:
    """The requested outputs. Raises RequestError."""
    by_default = ask.parameters.binary_data_output
    known = {output.name: output for output in outputs_of(task)}
    if not ask.outputs:
        return [WantedTensor(output, by_default) for output in known.values()]
    wanted = []
    for one in ask.outputs:
        if one.name not in known:
            raise RequestError(422, f"no output {one.name!r:.80}; there are {', '.join(known)}")
        output, how = known[one.name], one.parameters
        if how.classification and not output.columns:
            raise RequestError(422, f"classification: {one.name} has no columns to choose from")
        labels = task.label_names if output.columns == (len(task.label_names),) else ()
        binary = by_default if how.binary_data is None else how.binary_data
        wanted.append(WantedTensor(output, binary, labels, how.classification))
    return wanted


def _response(
    name: str,
    identity: str | None,
    wanted: Iterable[WantedTensor],
    predictions: Sequence[Any],
) -> Response:
    outputs, parts = [], []
    for one in wanted:
        array, datatype = array_of(one.output, predictions), str(one.output.datatype)
        if one.classes:
            array, datatype = largest(array, one.classes, one.labels), "BYTES"
        tensor: dict[str, Any] = {
            "name": one.output.name,
            "datatype": datatype,
            "shape": list(array.shape),
        }
        if one.binary:
            parts.append(bytes_of(array, datatype))
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
