"""Routes for clients of Hugging Face's servers.

``/predict`` is that of text-embeddings-inference; ``/`` is what ``huggingface_hub.InferenceClient``
uses for a server of one model. Neither names a model: the first model with a suitable task answers.

Hugging Face has a form of request and answer for each kind of pipeline. A task's ``hub_form`` says
which of them fits its predictions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Discriminator, Field, Tag
from starlette.requests import Request
from starlette.responses import Response

from onelayer.serving.api import schemas as schema
from onelayer.serving.api.operations import Operation, in_thread_if_large, json_response
from onelayer.serving.api.schemas import OneOrSeveral, Strict
from onelayer.serving.http.body import read_body
from onelayer.serving.service import PredictionRequest, PredictionResult, Service
from onelayer.tasks import TASKS
from onelayer.tasks.answer.answer_rows import Answer, Question
from onelayer.tasks.logits import sigmoid, softmax
from onelayer.tasks.tag.tag_rows import Tagged

Scores = dict[str, float]


def _nesting(value: object) -> str:
    if not isinstance(value, list):
        return "~text"
    return "~batch" if value and isinstance(value[0], list) else "~pair"


OneOrTwo = Annotated[list[str], Field(min_length=1, max_length=2)]


class Score(Strict):
    label: str
    score: float


class TeiAsk(Strict):
    """``inputs``: a text, a list of a text and its pair, or a list of such lists."""

    inputs: Annotated[
        Annotated[str, Tag("~text")]
        | Annotated[OneOrTwo, Tag("~pair")]
        | Annotated[list[OneOrTwo], Field(min_length=1), Tag("~batch")],
        Discriminator(_nesting),
    ]
    truncate: bool | None = False
    """Whether to read only the first window of a long text, not all of it."""
    raw_scores: bool = False
    """Whether to return logits, not probabilities."""


class ClassifyParameters(Strict):
    top_k: Annotated[int, Field(ge=1)] | None = None
    function_to_apply: Literal["sigmoid", "softmax", "none"] | None = None
    """Applied to the logits; by default the model's calibrated function."""


class HubClassify(Strict):
    inputs: OneOrSeveral[str]
    parameters: ClassifyParameters = ClassifyParameters()


class TagParameters(Strict):
    aggregation_strategy: Literal["simple", "first", "average", "max"] | None = None
    """Accepted and ignored: entities are always whole words."""
    ignore_labels: list[str] | None = None


class HubTag(Strict):
    inputs: OneOrSeveral[str]
    parameters: TagParameters = TagParameters()


class HubEntity(Strict):
    entity_group: str
    score: float
    word: str
    start: int
    end: int


class AnswerParameters(Strict):
    top_k: Annotated[int, Field(ge=1)] | None = None
    handle_impossible_answer: bool | None = None
    """False: return the best span even if the model predicts that there is no answer."""


class HubAnswer(Strict):
    inputs: OneOrSeveral[schema.strict_model(Question)]  # type: ignore[valid-type]
    parameters: AnswerParameters = AnswerParameters()


class Span(Strict):
    answer: str
    score: float
    start: int
    end: int


def operations(service: Service) -> list[Operation]:
    async def predict(request: Request) -> Response:
        name = service.first_model_for(*_tasks_of("text-classification"))
        body = await read_body(request, service.admission)
        ask = await in_thread_if_large(len(body), lambda: schema.parse_body(TeiAsk, body))
        one = isinstance(ask.inputs, str) or isinstance(ask.inputs[0], str)
        given: Any = [ask.inputs] if one else ask.inputs
        roles = service.model(name).task.columns.inputs
        query = PredictionRequest(
            [dict(zip(roles, _listed(item), strict=False)) for item in given],
            long="truncate" if ask.truncate else "window",
        )
        scored = _scores(
            await service.predict(request, name, query), "none" if ask.raw_scores else None
        )
        ranked = [_ranked(scores) for scores in scored]
        return json_response(ranked[0] if one else ranked)

    async def pipeline(request: Request) -> Response:
        name = service.first_model_for(*_tasks_of(*PIPELINES))
        task = service.model(name).task
        form = PIPELINES[task.hub_form or ""]
        body = await read_body(request, service.admission)
        ask: Any = await in_thread_if_large(len(body), lambda: schema.parse_body(form.takes, body))
        several = isinstance(ask.inputs, list)
        inputs = ask.inputs if several else [ask.inputs]
        result = await service.predict(
            request,
            name,
            PredictionRequest([schema.values_by_role(type(task), one) for one in inputs]),
        )
        found = list(form.respond(result, ask.parameters))
        return json_response(found if several or form.always_lists else found[0])

    forms = (model.task.hub_form for model in service.models.values())
    first = next((PIPELINES[form] for form in forms if form is not None), None)
    return [
        Operation(
            method="POST",
            path="/predict",
            endpoint=predict,
            summary="Classify, as text-embeddings-inference does",
            takes=TeiAsk,
            gives=list[Score] | list[list[Score]],
            tasks=_tasks_of("text-classification"),
        ),
        Operation(
            method="POST",
            path="/",
            endpoint=pipeline,
            summary="Predict, as Hugging Face's inference endpoints do",
            takes=first.takes if first else None,
            gives=first.gives if first else None,
            tasks=_tasks_of(*PIPELINES),
        ),
    ]


def _listed(item: str | list[str]) -> list[str]:
    return [item] if isinstance(item, str) else item


def _scores(result: PredictionResult, function: str | None) -> list[Scores]:
    """Scores of each row by label: ``function`` of the logits, or None for the probabilities."""
    if function is None:
        return [prediction.probabilities for prediction in result.predictions]
    job = result.job
    assert job.encodings is not None
    logits = job.task.row_logits(job.encodings, job.all_logits())
    applied = {"none": lambda x: x, "softmax": softmax, "sigmoid": sigmoid}[function](logits)
    return [dict(zip(job.task.label_names, row, strict=True)) for row in applied.tolist()]


def _ranked(scores: Scores, top: int | None = None) -> list[dict[str, Any]]:
    ranked = sorted(scores.items(), key=lambda item: -item[1])
    return [{"label": label, "score": float(f"{score:.7g}")} for label, score in ranked[:top]]


def _classified(result: PredictionResult, parameters: ClassifyParameters) -> Iterable[Any]:
    return [
        _ranked(scores, parameters.top_k)
        for scores in _scores(result, parameters.function_to_apply)
    ]


def _tagged(result: PredictionResult, parameters: TagParameters) -> Iterable[Any]:
    predictions: Sequence[Tagged] = result.predictions
    for prediction in predictions:
        yield [
            {
                "entity_group": entity.label,
                "score": entity.score,
                "word": entity.text,
                "start": entity.start,
                "end": entity.end,
            }
            for entity in prediction.entities
            if entity.label not in (parameters.ignore_labels or ())
        ]


def _answered(result: PredictionResult, parameters: AnswerParameters) -> Iterable[Any]:
    predictions: Sequence[Answer] = result.predictions
    for found in predictions:
        spans = [
            {"answer": span.text, "score": span.score, "start": span.start, "end": span.end}
            for span in found.candidates
        ]
        if not found.text and (parameters.handle_impossible_answer is not False or not spans):
            spans.insert(0, {"answer": "", "score": found.no_answer_score, "start": 0, "end": 0})
        yield spans[0] if parameters.top_k is None else spans[: parameters.top_k]


class PipelineForm(NamedTuple):
    """The form of requests and answers of one kind of pipeline."""

    takes: type[Strict]
    gives: Any
    respond: Callable[[PredictionResult, Any], Iterable[Any]]
    always_lists: bool = False
    """Whether a single input gets a list of answers, too."""


PIPELINES: dict[str, PipelineForm] = {
    "text-classification": PipelineForm(
        HubClassify, list[list[Score]], _classified, always_lists=True
    ),
    "token-classification": PipelineForm(HubTag, list[HubEntity] | list[list[HubEntity]], _tagged),
    "question-answering": PipelineForm(HubAnswer, Span | list[Span] | list[list[Span]], _answered),
}
"""By ``Task.hub_form``."""


def _tasks_of(*forms: str) -> tuple[str, ...]:
    """The names of the tasks with one of these forms."""
    return tuple(kind.name for kind in TASKS.values() if kind.hub_form in forms)
