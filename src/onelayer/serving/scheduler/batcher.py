"""The batcher: two threads turn jobs into predictions.

While one thread runs a batch, the other encodes the jobs that arrive. No job waits for a timer:
while the engine is busy, the next batch grows, so batches are as large as the load needs. On an
idle server a single request is a batch, and the thread that encoded it also runs it: waking the
other thread often takes longer than the batch.

Both threads execute ``_work``. Two locks give them roles: ``_encoding`` is held by the one that
encodes, ``_running`` by the one that is in the engine.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from typing import Any

from onelayer.base.errors import Place
from onelayer.prediction.predictor import Predictor
from onelayer.serving.limits import Limits
from onelayer.serving.scheduler.job_queue import Batch, Job, JobQueue
from onelayer.serving.scheduler.long_texts import apply_length_policy
from onelayer.serving.scheduler.throughput import Backlog
from onelayer.serving.scheduler.whole_jobs import WholeResult, run_whole, runs_whole
from onelayer.serving.server_metrics import ServerMetrics
from onelayer.tasks import AnyTask
from onelayer.tasks.logits import Logits
from onelayer.tasks.protocol import roles_of_lists
from onelayer.tokens.encodings import Encodings, joined

Answer = tuple[Job, list[Any] | Exception]
"""A job, and its predictions or why there are none."""

_BATCH_READY = object()
"""Wakes a thread that waits for jobs, because there is a batch to run."""
_NO_MORE_JOBS = None
"""Stops the threads."""

_EXAMPLE = "a sentence that is about as long as most"

THREAD_NICENESS = 10
"""Niceness of the models' threads, relative to the event loop's."""

MAX_CHARACTERS_ENCODED_TOGETHER = 2000
"""Characters of a request up to which it is encoded together with others. One call of the tokenizer
for many short texts is faster than many calls; for long texts it is not."""


class Batcher:
    """Runs jobs of several models, one batch at a time. Call ``predict`` on the event loop only."""

    def __init__(self, limits: Limits, metrics: ServerMetrics) -> None:
        self.backlog = Backlog(limits, metrics)
        self._limits = limits
        self._metrics = metrics
        self._arrivals: queue.SimpleQueue[Job | object | None] = queue.SimpleQueue()
        self._encoded_jobs = JobQueue()
        self._encoding, self._running = threading.Lock(), threading.Lock()
        self._jobs: set[Job] = set()
        """Jobs that aren't answered yet."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._threads: list[threading.Thread] = []

    async def predict(self, job: Job) -> list[Any]:
        """One prediction for each row. Raises RequestError for a text that is too long.

        If it is cancelled, the job's rows that wait are never run.
        """
        tokens, seconds = job.work
        self._start()
        self.backlog.add(tokens, seconds)
        self._jobs.add(job)
        self._arrivals.put(job)
        try:
            return await job.answer
        finally:
            job.left = True  # matters if this was cancelled: the threads then drop the job
            self._jobs.discard(job)
            self.backlog.add(-tokens, -seconds)

    async def finish_jobs_of(self, model: Predictor) -> None:
        """Returns when all jobs that run in this model's engine are answered."""
        answers = [job.answer for job in self._jobs if job.predictor.engine is model.engine]
        if answers:
            await asyncio.wait(answers)

    def warm_up(self, model: str, predictor: Predictor) -> None:
        """Runs a few rows.

        Engines prepare things on first use, and the model's throughput has to be known before the
        first request. Raises CheckpointError for a model that answers with something else than
        numbers.
        """
        row = _example_row(predictor.task)
        characters = sum(map(len, predictor.task.texts(row)))
        throughput = self.backlog.throughput(model)
        for rows in ([row], [row] * 8, [row] * 8):
            started = time.perf_counter()
            encodings = predictor.task.encode(rows, predictor.tokenizer, labelled=False)
            logits = predictor.logits(encodings)
            predictor.task.decode(rows, encodings, logits)
            throughput.record_batch(len(encodings.ids), time.perf_counter() - started)
            throughput.record_encoding(len(encodings.ids), characters * len(rows))
            predictor.predict_rows(rows)  # by its row model, if it has one

    def close(self) -> None:
        """Waits until the threads have finished all jobs. If the process ended while one of them is
        in the engine, it would crash."""
        self._arrivals.put(_NO_MORE_JOBS)
        for thread in self._threads:
            thread.join()

    def _start(self) -> None:
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            for _ in range(2):
                thread = threading.Thread(target=self._work, name="batcher", daemon=True)
                thread.start()
                self._threads.append(thread)

    # The methods below run in the two threads. `_deliver` gives results to the event loop.

    def _work(self) -> None:
        lower_thread_priority()
        while self._encode_arrivals():
            # If the other thread is in the engine, it takes these jobs after its batch: whoever
            # releases the lock looks at the queue again, so no job is forgotten.
            while self._encoded_jobs and self._running.acquire(blocking=False):
                try:
                    result = self._run()
                finally:
                    self._running.release()
                # This thread still has to decode. Meanwhile the other one can run the next batch.
                if self._encoded_jobs:
                    self._arrivals.put(_BATCH_READY)
                if result is not None:
                    self._deliver(result.answers())
                del result  # it would keep a replaced model in memory until the next batch

    def _encode_arrivals(self) -> bool:
        """Encodes the jobs that arrived, after waiting for some. False if no more will come."""
        with self._encoding:
            jobs = self._take_arrivals()
            if jobs is None:
                return False
            ready = [job for job in jobs if runs_whole(job, MAX_CHARACTERS_ENCODED_TOGETHER)]
            jobs = [job for job in jobs if job.row_model is None]
            # Sorting by group lets one call of the tokenizer encode a whole group.
            jobs.sort(key=_encoding_group)
            for _, group in groupby(jobs, _encoding_group):
                ready += self._encode_jobs([job for job in group if not job.left])
            ready.sort(key=lambda job: job.arrived)
            self._encoded_jobs.add(ready)
        return True

    def _take_arrivals(self) -> list[Job] | None:
        """Waits for an arrival and returns all jobs that have arrived; None if no more come."""
        items = [self._arrivals.get()]
        while not self._arrivals.empty():
            items.append(self._arrivals.get())
        if _NO_MORE_JOBS in items:
            # Put back: the other thread has to see it, and this one again after the jobs here.
            self._arrivals.put(_NO_MORE_JOBS)
        if items == [_NO_MORE_JOBS]:
            return None
        return [item for item in items if isinstance(item, Job)]

    def _encode_jobs(self, jobs: Sequence[Job]) -> list[Job]:
        """Encodes jobs of one model; returns those that can be run."""
        if not jobs:
            return []
        rows = [row for job in jobs for row in job.rows]
        try:
            encodings = jobs[0].task.encode(rows, jobs[0].predictor.tokenizer, labelled=False)
        except Exception as error:
            self._deliver((job, error) for job in jobs)
            return []
        # ``cut`` counts for all jobs together. Each job has to know its own, so encode them alone.
        if len(jobs) > 1 and encodings.cut.tokens:
            return [one for job in jobs for one in self._encode_jobs([job])]
        ready, start = [], 0
        for job in jobs:
            own = encodings if len(jobs) == 1 else encodings.part(start, start + len(job.rows))
            start += len(job.rows)
            try:
                job.set_encodings(*apply_length_policy(job, own, self._limits))
            except Exception as error:
                self._deliver([(job, error)])
            else:
                ready.append(job)
        characters = sum(job.characters for job in jobs)
        self.backlog.throughput(jobs[0].model).record_encoding(len(encodings.ids), characters)
        return ready

    def _run(self) -> BatchResult | WholeResult | None:
        """Runs the next batch; None if the callers of all queued jobs have left."""
        budget = self._limits.token_budget
        if (batch := self._encoded_jobs.take(budget)) is None:
            return None
        started = time.perf_counter()
        result: BatchResult | WholeResult
        tokens, throughput = batch.tokens, self.backlog.throughput(batch.model)
        try:
            if batch.slices[0].job.row_model is None:
                result = run_batch(batch, started)
            else:
                result = run_whole(batch, started, self._limits)
                tokens = result.tokens
                characters = sum(one.characters for one in batch.slices)
                throughput.record_encoding(tokens, characters)
        except Exception as error:
            result = BatchResult(batch, error=error)
        seconds = time.perf_counter() - started
        throughput.record_batch(tokens, seconds)
        self._metrics.batch_fill.labels(batch.model).observe(batch.tokens / budget)
        self._metrics.batch_seconds.labels(batch.model).observe(seconds)
        return result

    def _deliver(self, answers: Iterable[Answer]) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(_set_answers, list(answers))


def lower_thread_priority() -> None:
    """Lowers the priority of this thread and of those that it will start.

    On few cores the event loop then goes first, so answers and refusals don't wait for a model.
    """
    if hasattr(os, "setpriority"):
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), THREAD_NICENESS)


def _encoding_group(job: Job) -> tuple[str, int]:
    """Jobs of equal groups are encoded together: short jobs of one model, not of one that has
    replaced it.

    A long job is a group of its own, and so is one whose ``long`` needs to know how much is cut.
    """
    alone = job.characters > MAX_CHARACTERS_ENCODED_TOGETHER or job.long != "window"
    return job.model, id(job) if alone else id(job.predictor.engine)


def _set_answers(answers: Sequence[Answer]) -> None:
    for job, found in answers:
        if job.answer.done():
            continue
        if isinstance(found, Exception):
            job.answer.set_exception(found)
        else:
            job.answer.set_result(found)


@dataclass(frozen=True, slots=True)
class BatchResult:
    """A batch after the model ran, or failed."""

    batch: Batch
    encodings: Encodings | None = None
    logits: Logits | None = None
    error: Exception | None = None

    def answers(self) -> list[Answer]:
        """The answers to the jobs whose last rows are in this batch; of a failed batch, to all."""
        if self.error is not None:
            return [(one.job, self.error) for one in self.batch.slices]
        finished = (one.job for one in self.batch.slices if one.stop == len(one.job.rows))
        return self._decode_together() or [(job, decode_job(job)) for job in finished]

    def _decode_together(self) -> list[Answer]:
        """Decodes all jobs in one call, which is several times as fast for many small jobs.

        Empty if that isn't possible: a job has other guarantees or rows in other batches, or one
        fails. Then each is decoded alone, and only the faulty one gets an error.
        """
        jobs = [one.job for one in self.batch.slices]
        task = jobs[0].task
        if any(one.is_part or one.job.task is not task for one in self.batch.slices):
            return []
        assert self.encodings is not None
        assert self.logits is not None
        rows = [row for job in jobs for row in job.rows]
        try:
            predictions = iter(task.decode(rows, self.encodings, self.logits))
        except Exception:
            return []
        return [(job, list(islice(predictions, len(job.rows)))) for job in jobs]


def run_batch(batch: Batch, started: float) -> BatchResult:
    """Runs a batch in the engine and gives each job the logits of its rows.

    ``started`` is when this began; a job keeps the start of its first batch.
    """
    parts = []
    for one in batch.slices:
        assert one.job.encodings is not None
        parts.append(one.job.encodings.part(one.start, one.stop))
        if one.job.started is None:
            one.job.started = started
    encodings = joined(parts)
    logits = batch.predictor.logits(encodings)
    before = 0
    for one, part in zip(batch.slices, parts, strict=True):
        after = before + len(part.reads)
        one.job.logits.append(logits[before:after])
        before = after
    return BatchResult(batch, encodings, logits)


def decode_job(job: Job) -> list[Any] | Exception:
    """The predictions of a job, or the error of its task."""
    assert job.encodings is not None
    try:
        return job.task.decode(job.rows, job.encodings, job.all_logits())
    except Exception as error:
        return error


def _example_row(task: AnyTask) -> Any:
    """A row with a short text in each required role."""
    lists = roles_of_lists(type(task))
    roles = (role for role in task.columns.inputs if role not in task.columns.optional)
    values = {role: ["this", "that"] if role in lists else _EXAMPLE for role in roles}
    return task.row(values, Place("example"), False)
