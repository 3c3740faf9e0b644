"""From requests to predictions: two threads, one encodes what comes in while the other runs what is
encoded.

Nothing waits by the clock. While the engine runs a batch the next one gathers, so batches are as
large as there is work. A single request on an idle server is a batch of its own, and the thread
that encoded it runs it: waking the other thread would take longer than many a batch.
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
from onelayer.serving.server_metrics import ServerMetrics
from onelayer.tasks import AnyTask
from onelayer.tasks.logits import Logits
from onelayer.tasks.protocol import roles_of_lists
from onelayer.tokens.encodings import Encodings, joined

Answer = tuple[Job, list[Any] | Exception]

_BATCH_READY = object()

_EXAMPLE = "a sentence that is about as long as most"

THREAD_NICENESS = 10
"""How far the models' threads stand behind the event loop's, as ``nice`` counts."""

MAX_CHARACTERS_ENCODED_TOGETHER = 2000
"""Characters of a request up to which it is encoded with others. One call of the tokenizer for many
short texts is faster than many calls; long texts gain nothing."""


class Batcher:
    """Runs jobs of several models, one batch at a time. ``predict`` belongs to the event loop."""

    def __init__(self, limits: Limits, metrics: ServerMetrics) -> None:
        self.backlog = Backlog(limits, metrics)
        self._limits = limits
        self._metrics = metrics
        # None: no more jobs will come. _BATCH_READY: a batch can be run.
        self._arrivals: queue.SimpleQueue[Job | object | None] = queue.SimpleQueue()
        self._encoded_jobs = JobQueue()
        self._encoding, self._running = threading.Lock(), threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._threads: list[threading.Thread] = []

    async def predict(self, job: Job) -> list[Any]:
        """One prediction for each row. Raises RequestError for a text that is too long."""
        tokens = job.tokens
        seconds = self.backlog.throughput(job.model).estimate_seconds(tokens)
        self._start()
        self.backlog.add(tokens, seconds)
        self._arrivals.put(job)
        try:
            return await job.answer
        finally:
            job.left = True  # also if the wait was broken off
            self.backlog.add(-tokens, -seconds)

    def warm_up(self, model: str, predictor: Predictor) -> None:
        """Runs a few rows, so that the first callers don't wait for what is made on first use, and
        the model's throughput is known from the start."""
        row = _example_row(predictor.task)
        characters = sum(map(len, predictor.task.texts(row)))
        throughput = self.backlog.throughput(model)
        for rows in ([row], [row] * 8, [row] * 8):
            started = time.perf_counter()
            encodings = predictor.task.encode(rows, predictor.tokenizer, labelled=False)
            predictor.task.decode(rows, encodings, predictor.engine.logits(encodings))
            throughput.record_batch(len(encodings.ids), time.perf_counter() - started)
            throughput.record_encoding(len(encodings.ids), characters * len(rows))

    def close(self) -> None:
        """Returns when the threads have done what waits. A process that ended while one of them is
        in the engine would be aborted."""
        self._arrivals.put(None)
        for thread in self._threads:
            thread.join()

    def _start(self) -> None:
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            for _ in range(2):
                thread = threading.Thread(target=self._work, name="batcher", daemon=True)
                thread.start()
                self._threads.append(thread)

    # What follows runs in the two threads and hands its results to the event loop.

    def _work(self) -> None:
        lower_thread_priority()
        while self._encode_arrivals():
            # A thread that releases the lock looks again, so that no job is forgotten.
            while self._encoded_jobs and self._running.acquire(blocking=False):
                try:
                    result = self._run()
                finally:
                    self._running.release()
                if self._encoded_jobs:  # the other thread may run it while this one decodes
                    self._arrivals.put(_BATCH_READY)
                if result is not None:
                    self._deliver(result.answers())

    def _encode_arrivals(self) -> bool:
        """Encodes what came in; False when no more will come."""
        with self._encoding:
            jobs = self._take_arrivals()
            if jobs is None:
                return False
            ready: list[Job] = []
            jobs.sort(key=_encoding_group)
            for _, group in groupby(jobs, _encoding_group):
                ready += self._encode_jobs([job for job in group if not job.left])
            ready.sort(key=lambda job: job.arrived)
            self._encoded_jobs.add(ready)
        return True

    def _take_arrivals(self) -> list[Job] | None:
        """Waits for jobs and returns all that came in; None when no more will come."""
        items = [self._arrivals.get()]
        while not self._arrivals.empty():
            items.append(self._arrivals.get())
        if None in items:
            self._arrivals.put(None)  # for the next round, and for the other thread
        return None if items == [None] else [item for item in items if isinstance(item, Job)]

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
        if len(jobs) > 1 and encodings.cut.tokens:  # how much is cut of which job isn't known
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

    def _run(self) -> BatchResult | None:
        """Runs the next batch; None if all who waited have left."""
        budget = self._limits.token_budget
        if (batch := self._encoded_jobs.take(budget)) is None:
            return None
        started = time.perf_counter()
        try:
            result = run_batch(batch, started)
        except Exception as error:
            result = BatchResult(batch, error=error)
        seconds = time.perf_counter() - started
        self.backlog.throughput(batch.model).record_batch(batch.tokens, seconds)
        self._metrics.batch_fill.labels(batch.model).observe(batch.tokens / budget)
        self._metrics.batch_seconds.labels(batch.model).observe(seconds)
        return result

    def _deliver(self, answers: Iterable[Answer]) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(_set_answers, list(answers))


def lower_thread_priority() -> None:
    """Lets the event loop go first where cores are few: answering and refusing are quick if the
    models' threads don't stand before them. Threads that this one starts inherit its priority."""
    if hasattr(os, "setpriority"):
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), THREAD_NICENESS)


def _encoding_group(job: Job) -> tuple[str, int]:
    """Jobs with an equal group are encoded together: short ones of one model. A long one, or one
    whose caller wants to know what is cut, is a group of its own."""
    alone = job.characters > MAX_CHARACTERS_ENCODED_TOGETHER or job.long != "window"
    return job.model, id(job) if alone else 0


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
        """The predictions of the jobs whose last rows are in this batch."""
        if self.error is not None:
            return [(one.job, self.error) for one in self.batch.slices]
        finished = (one.job for one in self.batch.slices if one.stop == len(one.job.rows))
        return self._decode_together() or [(job, decode_job(job)) for job in finished]

    def _decode_together(self) -> list[Answer]:
        """Decodes all jobs in one call, for many small ones several times as fast as one by one.
        Empty if they ask for different things, have rows in other batches, or one of them fails."""
        jobs = [one.job for one in self.batch.slices]
        task = jobs[0].task
        if any(one.part or one.job.task is not task for one in self.batch.slices):
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
    """Gives each job the logits of its rows."""
    parts = []
    for one in batch.slices:
        assert one.job.encodings is not None
        parts.append(one.job.encodings.part(one.start, one.stop))
        if one.job.started is None:
            one.job.started = started
    encodings = joined(parts)
    logits = batch.predictor.engine.logits(encodings)
    before = 0
    for one, part in zip(batch.slices, parts, strict=True):
        after = before + len(part.reads)
        one.job.logits.append(logits[before:after])
        before = after
    return BatchResult(batch, encodings, logits)


def decode_job(job: Job) -> list[Any] | Exception:
    assert job.encodings is not None
    try:
        return job.task.decode(job.rows, job.encodings, job.all_logits())
    except Exception as error:
        return error


def _example_row(task: AnyTask) -> Any:
    """A row with a short text in each role that it can't lack."""
    lists = roles_of_lists(type(task))
    roles = (role for role in task.columns.inputs if role not in task.columns.optional)
    values = {role: ["this", "that"] if role in lists else _EXAMPLE for role in roles}
    return task.row(values, Place("example"), False)
