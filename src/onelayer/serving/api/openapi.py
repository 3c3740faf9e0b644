"""The OpenAPI 3.1 document, made from the operations and the models that are served."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, get_args

from pydantic import TypeAdapter

from onelayer import __version__
from onelayer.serving.api.operations import Operation
from onelayer.serving.service import Service
from onelayer.tasks import TASKS

REF = "#/components/schemas/{model}"

PROBLEM = {
    "type": "object",
    "description": "RFC 9457.",
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "request_id": {"type": "string"},
        "error": {
            "type": "string",
            "description": "The same as detail, for clients of other protocols.",
        },
    },
    "required": ["type", "title", "status", "detail"],
}


def describe_api(
    service: Service, operations: Sequence[Operation], *, keys: bool
) -> dict[str, Any]:
    """The document as JSON values. ``keys``: whether callers need an API key."""
    there = [one for one in operations if models_of(service, one)]
    adapters = [(one, _adapters(one)) for one in there]
    schemas, definitions = TypeAdapter.json_schemas(
        [(id(adapter), "validation", adapter) for _, each in adapters for adapter in each.values()],
        ref_template=REF,
    )
    components: dict[str, Any] = definitions.get("$defs", {}) | {"Problem": PROBLEM}
    for name, fields in _as_written().items():
        if name in components:
            components[name]["properties"] |= fields
    paths: dict[str, dict[str, Any]] = {}
    for one, each in adapters:
        found = {role: schemas[(id(a), "validation")] for role, a in each.items()}
        described = _operation(one, models_of(service, one), found, keys=keys)
        paths.setdefault(one.path, {})[one.method.lower()] = described
    document: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": "onelayer", "version": __version__, "description": _ABOUT},
        "paths": paths,
        "components": {"schemas": components},
    }
    if keys:
        document["components"]["securitySchemes"] = _SCHEMES
    return document


_ABOUT = (
    "Fine-tuned BERTs over HTTP. Answers have an x-request-id. Errors are problem JSON (RFC 9457)."
)

_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
}


def _as_written() -> dict[str, Mapping[str, Any]]:
    """By type of prediction: schemas of fields that JSON has in another type than Python."""
    kinds = (kind.prediction_type() for kind in TASKS.values())
    return {one.__name__: one.json_schema for kind in kinds for one in get_args(kind) or (kind,)}


def models_of(service: Service, operation: Operation) -> list[str]:
    """Names of the models that an operation can be used for."""
    models = service.models.items()
    of = operation.tasks
    return [name for name, predictor in models if of is None or predictor.task.name in of]


def _adapters(operation: Operation) -> dict[str, TypeAdapter[Any]]:
    kinds = {"takes": operation.takes, "gives": operation.gives}
    return {
        role: TypeAdapter(kind)
        for role, kind in kinds.items()
        if kind is not None and not isinstance(kind, str)
    }


def _operation(
    operation: Operation, names: Sequence[str], schemas: dict[str, Any], *, keys: bool
) -> dict[str, Any]:
    media_type = operation.gives if isinstance(operation.gives, str) else "application/json"
    content = {media_type: {"schema": schemas.get("gives", {"type": "string"})}}
    described: dict[str, Any] = {
        "summary": operation.summary,
        "tags": [operation.tag],
        "responses": {
            "200": {"description": "The answer.", "content": content},
            **{str(status): _problem(status) for status in _statuses(operation, keys)},
        },
    }
    if "{name}" in operation.path:
        schema = {"type": "string", "enum": list(names)}
        described["parameters"] = [
            {"name": "name", "in": "path", "required": True, "schema": schema}
        ]
    if "takes" in schemas:
        body = {"application/json": {"schema": schemas["takes"]}}
        described["requestBody"] = {"required": True, "content": body}
    if keys and not operation.public:
        described["security"] = [{"bearer": []}, {"key": []}]
    return described


def _problem(status: int) -> dict[str, Any]:
    schema = {"$ref": REF.format(model="Problem")}
    described: dict[str, Any] = {
        "description": HTTPStatus(status).phrase,
        "content": {"application/problem+json": {"schema": schema}},
    }
    if status in (429, 503):
        seconds = {"schema": {"type": "integer"}, "description": "Seconds."}
        described["headers"] = {"retry-after": seconds}
    return described


def _statuses(operation: Operation, keys: bool) -> Iterable[int]:
    found = {*operation.statuses, 400, 408, 421, 431}
    if "{name}" in operation.path:
        found |= {404, 503}
    if operation.takes is not None:
        found |= {404, 413, 415, 422, 503}
    if not operation.public:
        found |= {401, 429} if keys else {429}
    return sorted(found)
