"""Small jobs whose rows the engine encodes, runs and decodes in one call.

The call doesn't hold Python's lock. Long jobs, and callers that ask for more than predictions, take
the steps one by one.
"""

from __future__ import annotations

from dataclasses import dataclass

from onelayer.serving.limits import Limits
from onelayer.serving.scheduler.job_queue import Batch, Job, Slice
from onelayer.serving.scheduler.long_texts import too_many_tokens


def runs_whole(job: Job, most_characters: int) -> bool:
    """Whether a job is run in one call; it then keeps its row model."""
    if job.long == "window" and job.characters <= most_characters and not job.wants_logits:
        job.row_model = job.predictor.ready_row_model()
    if job.row_model is not None:
        job.set_estimate()
    return job.row_model is not None


@dataclass(frozen=True, slots=True)
class WholeResult:
    """A batch of such jobs after the model ran."""

    batch: Batch
    tokens: int

    def answers(self) -> list[tuple[Job, list[object] | Exception]]:
        """The answers to the jobs whose last rows are in this batch."""
        finished = (one.job for one in self.batch.slices if one.stop == len(one.job.rows))
        return [(job, job.failure or job.found) for job in finished]


def run_whole(batch: Batch, started: float, limits: Limits) -> WholeResult:
    """Predicts for the rows of a batch. A job that fails doesn't fail the others."""
    for one in batch.slices:
        if one.job.started is None:
            one.job.started = started
    model = batch.slices[0].job.row_model
    assert model is not None, "such jobs have one"
    rows = [row for one in batch.slices for row in one.job.rows[one.start : one.stop]]
    found = model.predict(rows)
    if found is None:  # for one of the rows
        for one in batch.slices:
            _run_alone(one)
        return WholeResult(batch, batch.tokens)
    at = 0
    for one in batch.slices:
        own = slice(at, at := at + one.stop - one.start)
        tokens, job = found.tokens[own], one.job
        job.found += found.predictions[own]
        job.tokens += sum(tokens)
        job.unread += sum(found.unread[own])
        job.failure = job.failure or too_many_tokens(tokens, limits)
    return WholeResult(batch, sum(found.tokens))


def _run_alone(one: Slice) -> None:
    """The same for the rows of one job, step by step."""
    job, rows = one.job, one.job.rows[one.start : one.stop]
    try:
        chunk = job.predictor.run_rows(rows)
        job.found += job.task.decode(*chunk)
    except Exception as error:
        job.failure = error
    else:
        job.tokens += len(chunk[1].ids)
        job.unread += chunk[1].cut.tokens
