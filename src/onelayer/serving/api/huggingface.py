"""Routes for clients of Hugging Face's servers.

``/predict`` is that of text-embeddings-inference; ``/`` is what ``huggingface_hub.InferenceClient``
uses for a server of one model. Below ``/models/{name}`` each model has both for itself.

At ``/`` no request says which model it is for. Where several models are served, the request has to
fit the form of one pipeline only: a text alone could be for a classifier as well as for a tagger.
"""

from __future__ import annotations

import operator
from functools import reduce
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag
from starlette.requests import Request
from starlette.responses import Response

from onelayer import __version__
from onelayer.serving.api import schemas as schema
from onelayer.serving.api.hub_forms import PIPELINES, Score, ranked, scores_of
from onelayer.serving.api.operations import Operation, in_thread_if_large, json_response
from onelayer.serving.api.schemas import Borrowed, Strict
from onelayer.serving.http.body import read_body
from onelayer.serving.request_context import RequestContext
from onelayer.serving.request_errors import RequestError
from onelayer.serving.service import PredictionRequest, Service, describe_model
from onelayer.tasks import TASKS

CLASSIFIER = "text-classification"
EMBEDDINGS_TAG = "text-embeddings-inference"
PIPELINES_TAG = "Hugging Face"


def _nesting(value: object) -> str:
    if not isinstance(value, list):
        return "~text"
    return "~batch" if value and isinstance(value[0], list) else "~pair"


OneOrTwo = Annotated[list[str], Field(min_length=1, max_length=2)]


class EmbeddingsPredictRequest(Borrowed):
    """``inputs``: a text, a list of a text and its pair, or a list of such lists."""

    inputs: Annotated[
        Annotated[str, Tag("~text")]
        | Annotated[OneOrTwo, Tag("~pair")]
        | Annotated[list[OneOrTwo], Field(min_length=1), Tag("~batch")],
        Discriminator(_nesting),
    ]
    truncate: bool = False
    """Whether to read only the first window of a long text, not all of it."""
    truncation_direction: Literal["right", "Right", "left", "Left"] = "Right"
    """Which end of a truncated text is left out. Only the right one can be."""
    raw_scores: bool = False
    """Whether to return logits, not probabilities."""


class ModelInfo(Strict):
    """A model and the server's limits."""

    model_id: str
    model_dtype: str
    model_type: dict[str, Any]
    max_concurrent_requests: int
    max_input_length: int
    max_batch_tokens: int
    max_client_batch_size: int
    auto_truncate: bool
    version: str


def operations(service: Service) -> list[Operation]:
    def classifier(request: Request) -> str:
        """The name of the model that a request to text-embeddings-inference is for."""
        name: str | None = request.path_params.get("name")
        if name is None:
            return service.first_model_for(*_tasks_of(CLASSIFIER))
        if (task := service.model(name).task).hub_form != CLASSIFIER:
            raise RequestError(404, f"this model is for {task.name}; only classifiers are here")
        return name

    async def predict(request: Request) -> Response:
        name = classifier(request)
        body = await read_body(request, service.admission)
        ask = await in_thread_if_large(
            len(body), lambda: schema.parse_body(EmbeddingsPredictRequest, body)
        )
        if ask.truncate and ask.truncation_direction.lower() == "left":
            raise RequestError(422, "truncation_direction: texts are truncated at their right end")
        one = isinstance(ask.inputs, str) or isinstance(ask.inputs[0], str)
        given: Any = [ask.inputs] if one else ask.inputs
        roles = service.model(name).task.columns.inputs
        query = PredictionRequest(
            [dict(zip(roles, _listed(item), strict=False)) for item in given],
            long="truncate" if ask.truncate else "window",
            wants_logits=ask.raw_scores,
        )
        result = await service.predict(RequestContext.of(request), name, query, request.receive)
        scored = scores_of(result, "none" if ask.raw_scores else None)
        answer = [ranked(scores) for scores in scored]
        return json_response(answer[0] if one else answer)

    async def pipeline(request: Request) -> Response:
        name: str | None = request.path_params.get("name")
        forms = {} if name else _models_by_form(service)
        if name is None and not forms:
            name = service.first_model_for(*_tasks_of(*PIPELINES))  # says why there is none
        if name is not None:
            forms = {_form_of(service, name): name}
        body = await read_body(request, service.admission)
        form, ask = await in_thread_if_large(len(body), lambda: _fitting(forms, body))
        name = forms[form]
        query = PIPELINES[form].query(type(service.model(name).task), ask)
        result = await service.predict(RequestContext.of(request), name, query, request.receive)
        return json_response(PIPELINES[form].answer(ask, result))

    async def info(request: Request) -> Response:
        name = request.path_params.get("name") or classifier(request)
        about, limits = describe_model(name, service.model(name)), service.limits
        ids = {str(i): label for i, label in enumerate(about["labels"])}
        labels = {"id2label": ids, "label2id": {label: int(i) for i, label in ids.items()}}
        is_classifier = service.model(name).task.hub_form == CLASSIFIER
        return json_response(
            {
                "model_id": name,
                "model_dtype": about["precision"],
                "model_type": {"classifier": labels} if is_classifier else {},
                "max_concurrent_requests": limits.max_requests,
                "max_input_length": about["max_length"],
                "max_batch_tokens": limits.token_budget,
                "max_client_batch_size": limits.max_texts,
                "auto_truncate": False,
                "version": __version__,
            }
        )

    async def health(request: Request) -> Response:
        service.model(request.path_params["name"])
        return json_response({"status": "ok"})

    here = [PIPELINES[form] for form in _models_by_form(service)] or list(PIPELINES.values())
    found = []
    for prefix, of in (("", ""), ("/models/{name}", ", with this model")):
        found += [
            Operation(
                method="POST",
                path=f"{prefix}/predict",
                endpoint=predict,
                summary=f"Classify, as text-embeddings-inference does{of}",
                takes=EmbeddingsPredictRequest,
                gives=list[Score] | list[list[Score]],
                tasks=_tasks_of(CLASSIFIER),
                tag=EMBEDDINGS_TAG,
            ),
            Operation(
                method="GET",
                path=f"{prefix}/info",
                endpoint=info,
                summary=f"The model and the server's limits{of and ', of this model'}",
                gives=ModelInfo,
                tasks=None if prefix else _tasks_of(CLASSIFIER),
                tag=EMBEDDINGS_TAG,
                statuses=(404, 503),
            ),
            Operation(
                method="POST",
                path=prefix or "/",
                endpoint=pipeline,
                summary=f"Predict, as Hugging Face's inference endpoints do{of}",
                takes=_any_of(form.takes for form in here),
                gives=_any_of(form.gives for form in here),
                tasks=_tasks_of(*PIPELINES),
                tag=PIPELINES_TAG,
            ),
        ]
    health_of_model = Operation(
        method="GET",
        path="/models/{name}/health",
        endpoint=health,
        summary="Whether a model is loaded",
        gives=schema.Health,
        tag=PIPELINES_TAG,
    )
    return [*found, health_of_model]


def _any_of(kinds: Any) -> Any:
    return reduce(operator.or_, kinds)


def _models_by_form(service: Service) -> dict[str, str]:
    """The first model of each form that a served model has."""
    found: dict[str, str] = {}
    for name, predictor in service.models.items():
        if predictor.task.hub_form is not None:
            found.setdefault(predictor.task.hub_form, name)
    return found


def _form_of(service: Service, name: str) -> str:
    task = service.model(name).task
    if task.hub_form is None:
        hint = f"/v1/models/{name}/{task.name}"
        raise RequestError(404, f"no pipeline of Hugging Face is for {task.name}: use {hint}")
    return task.hub_form


def _fitting(forms: dict[str, str], body: bytes) -> tuple[str, Any]:
    """The one form that a request fits, and the request. Raises RequestError for none and for
    several, because then it isn't known which model is meant."""
    asks: dict[str, Any] = {}
    problems: list[RequestError] = []
    for form in forms:
        try:
            asks[form] = schema.parse_body(PIPELINES[form].takes, body)
        except RequestError as problem:
            problems.append(problem)
    if len(asks) == 1:
        return next(iter(asks.items()))
    if not asks:
        raise problems[0]
    addresses = " or ".join(f"/models/{forms[form]} ({form})" for form in asks)
    raise RequestError(400, f"several models could be meant; send it to {addresses}")


def _listed(item: str | list[str]) -> list[str]:
    return [item] if isinstance(item, str) else item


def _tasks_of(*forms: str) -> tuple[str, ...]:
    """The names of the tasks with one of these forms."""
    return tuple(kind.name for kind in TASKS.values() if kind.hub_form in forms)
