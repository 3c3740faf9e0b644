"""What clients of Hugging Face's servers ask: text-embeddings-inference's ``/predict``, and ``/``
as ``huggingface_hub.InferenceClient`` asks a server of one model. The first that can answers.

Hugging Face has a form of request and answer for each kind of pipeline. A task says which of them
its predictions fit, by ``hub_form``.
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
    """Read no more than the first window of a long text, where else the model reads it its way."""
    raw_scores: bool = False
    """Logits, in place of probabilities."""


class ClassifyParameters(Strict):
    top_k: Annotated[int, Field(ge=1)] | None = None
    function_to_apply: Literal["sigmoid", "softmax", "none"] | None = None
    """Of the logits; by default the model's own, calibrated."""


class HubClassify(Strict):
    inputs: OneOrSeveral[str]
    parameters: ClassifyParameters = ClassifyParameters()


class TagParameters(Strict):
    aggregation_strategy: Literal["simple", "first", "average", "max"] | None = None
    """Entities are whole words whatever is asked for."""
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
    """False: the best span also where the model holds that there is no answer."""


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
        name = service.first(*_tasks_of("text-classification"))
        body = await read_body(request, service.admission)
        ask = await in_thread_if_large(len(body), lambda: schema.parse(TeiAsk, body))
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

    async def like_the_hub(request: Request) -> Response:
        name = service.first(*_tasks_of(*PIPELINES))
        task = service.model(name).task
        form = PIPELINES[task.hub_form or ""]
        body = await read_body(request, service.admission)
        ask: Any = await in_thread_if_large(len(body), lambda: schema.parse(form.takes, body))
        several = isinstance(ask.inputs, list)
        inputs = ask.inputs if several else [ask.inputs]
        answered = await service.predict(
            request,
            name,
            PredictionRequest([schema.by_role(type(task), one) for one in inputs]),
        )
        found = list(form.respond(answered, ask.parameters))
        return json_response(found if several or form.always_lists else found[0])

    spoken = (model.task.hub_form for model in service.models.values())
    first = next((PIPELINES[form] for form in spoken if form is not None), None)
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
            endpoint=like_the_hub,
            summary="Predict, as Hugging Face's inference endpoints do",
            takes=first.takes if first else None,
            gives=first.gives if first else None,
            tasks=_tasks_of(*PIPELINES),
        ),
    ]


def _listed(item: str | list[str]) -> list[str]:
    return [item] if isinstance(item, str) else item


def _scores(answered: PredictionResult, function: str | None) -> list[Scores]:
    """Of each row, by label; None: its probabilities."""
    if function is None:
        return [prediction.probabilities for prediction in answered.predictions]
    job = answered.job
    assert job.encodings is not None
    logits = job.task.row_logits(job.encodings, job.all_logits())
    applied = {"none": lambda x: x, "softmax": softmax, "sigmoid": sigmoid}[function](logits)
    return [dict(zip(job.task.label_names, row, strict=True)) for row in applied.tolist()]


def _ranked(scores: Scores, top: int | None = None) -> list[dict[str, Any]]:
    ranked = sorted(scores.items(), key=lambda item: -item[1])
    return [{"label": label, "score": float(f"{score:.7g}")} for label, score in ranked[:top]]


def _classified(answered: PredictionResult, asked: ClassifyParameters) -> Iterable[Any]:
    return [_ranked(scores, asked.top_k) for scores in _scores(answered, asked.function_to_apply)]


def _tagged(answered: PredictionResult, asked: TagParameters) -> Iterable[Any]:
    predictions: Sequence[Tagged] = answered.predictions
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
            if entity.label not in (asked.ignore_labels or ())
        ]


def _answered(answered: PredictionResult, asked: AnswerParameters) -> Iterable[Any]:
    predictions: Sequence[Answer] = answered.predictions
    for found in predictions:
        spans = [
            {"answer": span.text, "score": span.score, "start": span.start, "end": span.end}
            for span in found.candidates
        ]
        if not found.text and (asked.handle_impossible_answer is not False or not spans):
            spans.insert(0, {"answer": "", "score": found.no_answer_score, "start": 0, "end": 0})
        yield spans[0] if asked.top_k is None else spans[: asked.top_k]


class PipelineForm(NamedTuple):
    """How one kind of pipeline is asked and answers."""

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
    """The names of the tasks that speak in one of these forms."""
    return tuple(kind.name for kind in TASKS.values() if kind.hub_form in forms)
