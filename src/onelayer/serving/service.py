"""The service: the models, and one method that predicts, for the routes of all protocols."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from starlette.types import Receive

from onelayer.base.text_offsets import CODE_POINTS, OffsetUnit
from onelayer.prediction.predictor import Predictor
from onelayer.serving.access_log import AccessLog
from onelayer.serving.http.admission import Admission, CallerRules
from onelayer.serving.limits import Limits
from onelayer.serving.request_context import RequestContext
from onelayer.serving.request_errors import RequestError
from onelayer.serving.scheduler.batcher import Batcher
from onelayer.serving.scheduler.job_queue import Job
from onelayer.serving.scheduler.long_texts import LongTextPolicy
from onelayer.serving.server_metrics import ServerMetrics


@dataclass(frozen=True, slots=True)
class PredictionRequest:
    """A request for predictions, from any protocol. ``inputs`` are values by role."""

    inputs: Sequence[Mapping[str, Any]]
    long: LongTextPolicy = "window"
    coverage: float | None = None
    abstain: float | None = None
    offsets: OffsetUnit = CODE_POINTS
    wants_logits: bool = False
    """Whether the answer is made of logits, and not of predictions alone."""


@dataclass(frozen=True, slots=True)
class PredictionResult:
    """The predictions, and the job with its token counts and logits."""

    predictions: Sequence[Any]
    job: Job


class Service:
    """The models with their batcher, admission, metrics and access log.

    Parameters
    ----------
    models
        By name. Models can be added until ``App.open``.
    limits
        What requests may cost.
    access_log
        None for no log.
    callers
        Who may call the server; by default everybody.
    """

    def __init__(
        self,
        models: dict[str, Predictor],
        limits: Limits,
        access_log: AccessLog | None = None,
        callers: CallerRules | None = None,
    ) -> None:
        self.models = models
        self.examples: dict[str, list[dict[str, Any]]] = {}
        """Inputs by role that the page offers, by model."""
        self.limits = limits
        self.access_log = access_log
        self.metrics = ServerMetrics()
        self.batcher = Batcher(limits, self.metrics)
        self.admission = Admission(limits, self.batcher.backlog, self.metrics, callers)

    def model(self, name: str) -> Predictor:
        """The model of this name. Raises RequestError if it isn't served."""
        if problem := self.admission.refuse_while_loading():
            raise problem
        if name not in self.models:
            raise RequestError(404, f"no model of that name; there are: {', '.join(self.models)}")
        return self.models[name]

    def describe(self, name: str, predictor: Predictor) -> dict[str, Any]:
        """What callers and the page need to know about a model, with its examples."""
        about = describe_model(name, predictor)
        # A model that was loaded again may read other texts than the one before.
        roles = set(about["inputs"])
        needed = roles.difference(predictor.task.columns.optional) | roles & {"pair"}
        fitting = [one for one in self.examples.get(name, ()) if needed <= one.keys() <= roles]
        return about | {"examples": fitting}

    def first_model_for(self, *tasks: str) -> str:
        """The name of the first model for one of these tasks. Raises RequestError."""
        for name, predictor in self.models.items():
            if predictor.task.name in tasks:
                return name
        if problem := self.admission.refuse_while_loading():
            raise problem
        raise RequestError(404, f"no model here is for {' or '.join(tasks)}")

    def record(self, context: RequestContext, status: int) -> None:
        """Counts an answered request and writes its line to the access log."""
        seconds = time.perf_counter() - context.started
        self.metrics.count_answer(context.route, context.model, status, seconds)
        if self.access_log is not None:
            # An id is safe as it is: see request_id.
            self.access_log.write(
                f'"id": "{context.id}", "method": {_quoted(context.method)}, '
                f'"route": {_quoted(context.route)}, "model": {_quoted(context.model)}, '
                f'"status": {status}, "texts": {context.texts}, "tokens": {context.tokens}, '
                f'"queue_ms": {context.queue_ms:.2f}, "total_ms": {1000 * seconds:.2f}'
            )

    def log_event(self, **facts: str) -> None:
        """Writes a line about something else than a request to the log."""
        if self.access_log is not None:
            self.access_log.write(json.dumps(facts)[1:-1])
        else:
            print(", ".join(f"{name}: {fact}" for name, fact in facts.items()), file=sys.stderr)

    async def predict(
        self,
        context: RequestContext,
        name: str,
        query: PredictionRequest,
        receive: Receive | None = None,
    ) -> PredictionResult:
        """Predictions for all inputs.

        ASGI's ``receive`` tells when the caller leaves. None: then whoever called this cancels it.

        Raises RequestError, DataError or UsageError.
        """
        predictor = self.model(name).with_guarantees(coverage=query.coverage, abstain=query.abstain)
        if query.offsets != CODE_POINTS:
            predictor = predictor.with_offsets(query.offsets)
        context.model, context.texts = name, len(query.inputs)
        if problem := self.admission.refuse_texts(len(query.inputs)):
            raise problem
        rows = [predictor.row_by_role(values, i) for i, values in enumerate(query.inputs, start=1)]
        texts = (text for row in rows for text in predictor.task.texts(row))
        job = Job(
            model=name,
            predictor=predictor,
            rows=rows,
            long=query.long,
            characters=sum(map(len, texts)),
            answer=asyncio.get_running_loop().create_future(),
            arrived=time.perf_counter(),
            wants_logits=query.wants_logits,
        )
        job.work = self.batcher.backlog.estimate(name, job.characters)
        if problem := self.admission.refuse_queue(job.work, job.arrived):
            raise problem
        if receive is None:
            predictions = await self.batcher.predict(job)
        else:
            watching = asyncio.create_task(_cancel_when_caller_leaves(receive, job))
            try:
                predictions = await self.batcher.predict(job)
            finally:
                watching.cancel()
        waited = (job.started or job.arrived) - job.arrived
        context.tokens, context.queue_ms = job.tokens, 1000 * waited
        self.metrics.count_predictions(name, len(rows), job.tokens, waited)
        return PredictionResult(predictor.in_offset_unit(rows, predictions), job)


@lru_cache(maxsize=256)
def _quoted(text: str) -> str:
    """As JSON. Few different texts come: methods, routes and models."""
    return json.dumps(text)


async def _cancel_when_caller_leaves(receive: Receive, job: Job) -> None:
    """Cancels the job when the connection closes, so that no model works for nobody."""
    while (await receive())["type"] != "http.disconnect":
        pass
    if not job.answer.done():
        job.answer.cancel()


def describe_model(name: str, predictor: Predictor) -> dict[str, Any]:
    """What callers need to know about a model."""
    task = predictor.task
    roles = list(task.columns.default_layout().columns)
    if "pair" in predictor.layout.columns:
        roles.append("pair")
    record = predictor.record
    dev, exported = (record.dev, record.export) if record else (None, None)
    return {
        "name": name,
        "task": task.name,
        "labels": list(task.label_names),
        "thresholds": list(task.thresholds),
        "range": list((dev.range if dev else None) or ()),
        "inputs": roles,
        "engine": predictor.engine.name,
        "precision": exported.precision if exported else "fp32",
        "max_length": task.max_length,
    }
