"""The forms of requests and answers of Hugging Face's pipelines.

A task's ``hub_form`` says which of them fits its predictions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field

from onelayer.base.text_offsets import CODE_POINTS, OffsetUnit
from onelayer.serving.api import schemas as schema
from onelayer.serving.api.schemas import Borrowed, BorrowedOptions, OneOrSeveral, OrText, Strict
from onelayer.serving.service import PredictionRequest, PredictionResult
from onelayer.tasks import AnyTask
from onelayer.tasks.answer.answer_rows import Answer, Question
from onelayer.tasks.logits import sigmoid, softmax
from onelayer.tasks.tag.tag_rows import Tagged

Scores = dict[str, float]
Function = Literal["sigmoid", "softmax", "none"]
Offsets = Annotated[OffsetUnit, Field(description=schema.OFFSETS)]


class HubOptions(BorrowedOptions):
    """Options of every pipeline."""

    padding: bool | str = False
    """Accepted and ignored: no text is padded."""


class Score(Strict):
    label: str
    score: float


class ClassifyParameters(HubOptions):
    top_k: Annotated[int, Field(ge=1)] | None = None
    function_to_apply: Function | None = None
    """Applied to the logits; by default the model's calibrated function."""
    truncation: bool = False
    """Whether to read only the first window of a long text, not all of it."""
    return_all_scores: Literal[True] = True


class TextPair(Strict):
    """A text, and the one that it is paired with."""

    text: str
    text_pair: str | None = None


class HubClassifyRequest(Borrowed):
    inputs: OneOrSeveral[OrText[TextPair]]
    parameters: ClassifyParameters = ClassifyParameters()


class TagParameters(HubOptions):
    aggregation_strategy: Literal["simple", "first", "average", "max"] | None = None
    """Accepted and ignored: entities are always whole words."""
    ignore_labels: list[str] | None = None
    offsets: Offsets = CODE_POINTS


class HubTagRequest(Borrowed):
    inputs: OneOrSeveral[str]
    parameters: TagParameters = TagParameters()


class HubEntity(Strict):
    """An entity. ``start`` and ``end`` count code points, or the ``offsets`` of the request."""

    entity_group: str
    score: float
    word: str
    start: int
    end: int


class AnswerParameters(HubOptions):
    top_k: Annotated[int, Field(ge=1)] | None = None
    handle_impossible_answer: bool | None = None
    """False: return the best span even if the model predicts that there is no answer."""
    align_to_words: Literal[True] = True
    offsets: Offsets = CODE_POINTS


class HubAnswerRequest(Borrowed):
    inputs: OneOrSeveral[schema.strict_model(Question, "AnswerInput")]  # type: ignore[valid-type]
    parameters: AnswerParameters = AnswerParameters()


class Span(Strict):
    """An answer. ``start`` and ``end`` count code points of the context, or the ``offsets`` of the
    request."""

    answer: str
    score: float
    start: int
    end: int


class PipelineForm(NamedTuple):
    """The form of requests and answers of one kind of pipeline."""

    takes: type[Any]
    gives: Any
    respond: Callable[[PredictionResult, Any], Iterable[Any]]
    always_lists: bool = False
    """Whether a single input gets a list of answers, too."""

    def query(self, kind: type[AnyTask], ask: Any) -> PredictionRequest:
        """What a request asks of a model of this task."""
        inputs = ask.inputs if isinstance(ask.inputs, list) else [ask.inputs]
        truncates = getattr(ask.parameters, "truncation", False)
        return PredictionRequest(
            [_values(kind, one) for one in inputs],
            long="truncate" if truncates else "window",
            offsets=getattr(ask.parameters, "offsets", CODE_POINTS),
            wants_logits=getattr(ask.parameters, "function_to_apply", None) is not None,
        )

    def answer(self, ask: Any, result: PredictionResult) -> Any:
        """The body of the answer."""
        found = list(self.respond(result, ask.parameters))
        return found if isinstance(ask.inputs, list) or self.always_lists else found[0]


def _values(kind: type[AnyTask], one: Any) -> Mapping[str, Any]:
    if isinstance(one, TextPair):
        first, second, *_ = kind.columns.inputs
        pair = {} if one.text_pair is None else {second: one.text_pair}
        return {first: one.text, **pair}
    return schema.values_by_role(kind, one)


def scores_of(result: PredictionResult, function: Function | None) -> list[Scores]:
    """Scores of each row by label: ``function`` of the logits, or None for the probabilities."""
    if function is None:
        return [prediction.probabilities for prediction in result.predictions]
    job = result.job
    assert job.encodings is not None
    logits = job.task.row_logits(job.encodings, job.all_logits())
    applied = {"none": lambda x: x, "softmax": softmax, "sigmoid": sigmoid}[function](logits)
    return [dict(zip(job.task.label_names, row, strict=True)) for row in applied.tolist()]


def ranked(scores: Scores, top: int | None = None) -> list[dict[str, Any]]:
    """Labels with their scores, the best first."""
    best_first = sorted(scores.items(), key=lambda item: -item[1])
    return [{"label": label, "score": float(f"{score:.7g}")} for label, score in best_first[:top]]


def _classified(result: PredictionResult, parameters: ClassifyParameters) -> Iterable[Any]:
    scored = scores_of(result, parameters.function_to_apply)
    return [ranked(scores, parameters.top_k) for scores in scored]


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


PIPELINES: dict[str, PipelineForm] = {
    "text-classification": PipelineForm(
        HubClassifyRequest, list[list[Score]], _classified, always_lists=True
    ),
    "token-classification": PipelineForm(
        HubTagRequest, list[HubEntity] | list[list[HubEntity]], _tagged
    ),
    "question-answering": PipelineForm(
        HubAnswerRequest, Span | list[Span] | list[list[Span]], _answered
    ),
}
"""By ``Task.hub_form``."""
