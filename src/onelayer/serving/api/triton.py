"""Triton's extensions of the Open Inference Protocol: repository, configuration and statistics."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from onelayer.serving.api.kserve import MODEL_PATHS, TAG, VERSION, get_operation, metadata_of
from onelayer.serving.api.operations import Operation, json_response
from onelayer.serving.api.schemas import Strict
from onelayer.serving.service import Service

CONFIG_TYPES = {"BYTES": "TYPE_STRING", "FP32": "TYPE_FP32", "INT64": "TYPE_INT64"}
"""Names of data types in a model's configuration."""
NS = 1_000_000_000


class ModelIndex(Strict):
    name: str
    version: str
    state: str
    reason: str


class TensorConfig(Strict):
    name: str
    data_type: str
    dims: list[int]


class ModelConfig(Strict):
    name: str
    platform: str
    backend: str
    max_batch_size: int
    input: list[TensorConfig]
    output: list[TensorConfig]


class Durations(Strict):
    count: int
    ns: int


class InferenceStatistics(Strict):
    success: Durations
    fail: Durations
    queue: Durations
    compute_input: Durations
    compute_infer: Durations
    compute_output: Durations
    cache_hit: Durations
    cache_miss: Durations


class ModelStatistics(Strict):
    """``compute_infer`` is the duration of the batches; encoding and decoding aren't measured."""

    name: str
    version: str
    last_inference: int
    inference_count: int
    execution_count: int
    inference_stats: InferenceStatistics
    batch_stats: list[dict[str, Any]]


class AllStatistics(Strict):
    model_stats: list[ModelStatistics]


def operations(service: Service) -> list[Operation]:
    async def index(request: Request) -> Response:
        if problem := service.admission.refuse_while_loading():
            raise problem
        ready = {"version": VERSION, "state": "READY", "reason": ""}
        return json_response([{"name": name, **ready} for name in service.models])

    async def config(request: Request) -> Response:
        return json_response(_config(service, request.path_params["name"]))

    async def statistics(request: Request) -> Response:
        name = request.path_params["name"]
        service.model(name)
        return json_response({"model_stats": [_statistics(service, name)]})

    async def all_statistics(request: Request) -> Response:
        return json_response({"model_stats": [_statistics(service, n) for n in service.models]})

    found = [
        Operation(
            method="POST",
            path="/v2/repository/index",
            endpoint=index,
            summary="All models, for clients of Triton",
            gives=list[ModelIndex],
            tag=TAG,
            statuses=(503,),
        ),
        get_operation(
            path="/v2/models/stats",
            endpoint=all_statistics,
            summary="What all models have done",
            gives=AllStatistics,
        ),
    ]
    for prefix, of in MODEL_PATHS:
        found += [
            get_operation(
                path=f"{prefix}/config",
                endpoint=config,
                summary=f"A model's configuration, as Triton has it{of}",
                gives=ModelConfig,
            ),
            get_operation(
                path=f"{prefix}/stats",
                endpoint=statistics,
                summary=f"What a model has done{of}",
                gives=AllStatistics,
            ),
        ]
    return found


def _config(service: Service, name: str) -> dict[str, Any]:
    """Shapes include the first dimension, so the configuration's ``max_batch_size`` is 0."""
    metadata = metadata_of(name, service.model(name))
    tensors = {
        role: [
            {
                "name": one["name"],
                "data_type": CONFIG_TYPES[one["datatype"]],
                "dims": one["shape"],
            }
            for one in metadata[f"{role}s"]
        ]
        for role in ("input", "output")
    }
    head = {"name": name, "platform": metadata["platform"], "backend": "onelayer"}
    return {**head, "max_batch_size": 0, **tensors}


def _statistics(service: Service, name: str) -> dict[str, Any]:
    metrics = service.metrics
    answered, failed = metrics.tallies[name, True], metrics.tallies[name, False]
    count = answered.count

    def durations(count: float, seconds: float = 0.0) -> dict[str, int]:
        return {"count": int(count), "ns": int(seconds * NS)}

    return {
        "name": name,
        "version": VERSION,
        "last_inference": int(answered.last * 1000),
        "inference_count": int(metrics.figure("onelayer_texts_total", name)),
        "execution_count": int(metrics.figure("onelayer_batch_seconds_count", name)),
        "inference_stats": {
            "success": durations(count, answered.seconds),
            "fail": durations(failed.count, failed.seconds),
            "queue": durations(count, metrics.figure("onelayer_queue_seconds_sum", name)),
            "compute_input": durations(count),
            "compute_infer": durations(count, metrics.figure("onelayer_batch_seconds_sum", name)),
            "compute_output": durations(count),
            "cache_hit": durations(0),
            "cache_miss": durations(0),
        },
        "batch_stats": [],
    }
