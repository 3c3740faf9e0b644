"""From requests to predictions: two threads, of which one encodes what comes in while the other
runs what is encoded.

There is no delay by the clock. While the engine runs a batch the next one gathers, so batches are
as large as there is work, and a single request on an idle server is a batch by itself: whoever has
encoded it runs it, since to wake another thread would take longer than many a batch.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import queue
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from typing import Any

from onelayer.base.errors import Place
from onelayer.prediction.predictor import Predictor
from onelayer.serving.limits import Limits
from onelayer.serving.request_errors import queue_full
from onelayer.serving.scheduler.job_queue import Batch, Job, JobQueue
from onelayer.serving.scheduler.long_texts import apply_length_policy
from onelayer.serving.scheduler.throughput import Throughput
from onelayer.serving.server_metrics import ServerMetrics
from onelayer.tasks.protocol import Logits
from onelayer.tokens.encodings import Encodings, joined

Answer = tuple[Job, list[Any] | Exception]

_BATCH_READY = object()

_EXAMPLE = {
    "text": "a sentence that is about as long as most",
    "context": "a passage that is about as long as some are",
    "question": "what is it?",
    "options": ["this", "that"],
}

OVERLOAD_SECONDS = 1.0
"""Seconds without a refusal after which a burst may wait again."""

MIN_QUEUE_TOKENS = 64
"""Tokens that may be ahead of anybody: with fewer in a batch an engine isn't much sooner done."""

THREAD_NICENESS = 10
"""How far the models' threads step back behind the event loop's, as ``nice`` counts."""

MAX_CHARACTERS_ENCODED_TOGETHER = 2000
"""Characters up to which requests are encoded together: the tokenizer and NumPy like it better."""


class Batcher:
    """Runs jobs of several models, one batch at a time. ``predict`` belongs to the event loop."""

    def __init__(self, limits: Limits, metrics: ServerMetrics) -> None:
        self._limits = limits
        self._metrics = metrics
        # None: there will be no more; _BATCH_READY: there is a batch to be run.
        self._arrivals: queue.SimpleQueue[Job | object | None] = queue.SimpleQueue()
        self._waiting = JobQueue()
        self._encoding, self._running = threading.Lock(), threading.Lock()
        self._throughputs: defaultdict[str, Throughput] = defaultdict(Throughput)
        self._tokens, self._seconds = 0, 0.0  # of all that isn't answered yet
        self._refused = -OVERLOAD_SECONDS
        self._loop: asyncio.AbstractEventLoop | None = None
        self._threads: list[threading.Thread] = []

    async def predict(self, job: Job) -> list[Any]:
        """One prediction for each row. Raises RequestError where there is too much to do, or a
        text is too long."""
        tokens = job.tokens = self.tokens(job.model, job.characters)
        if wait := self.full_for(tokens, job.arrived):
            raise queue_full(wait)
        seconds = self._throughputs[job.model].seconds(tokens)
        self._start()
        self._count(tokens, seconds)
        self._arrivals.put(job)
        try:
            return await job.answer
        finally:
            job.left = True  # also where the wait was broken off
            self._count(-tokens, -seconds)

    def warm_up(self, model: str, predictor: Predictor) -> None:
        """Runs a few rows, so that the first callers don't wait for what is made at first need, and
        its pace is known from the beginning."""
        row = predictor.task.row(_EXAMPLE, Place("example"), False)
        characters = sum(map(len, predictor.task.texts(row)))
        for rows in ([row], [row] * 8, [row] * 8):
            started = time.perf_counter()
            encodings = predictor.task.encode(rows, predictor.tokenizer, labelled=False)
            predictor.task.decode(rows, encodings, predictor.engine.logits(encodings))
            self._throughputs[model].ran(len(encodings.ids), time.perf_counter() - started)
            self._throughputs[model].read(len(encodings.ids), characters * len(rows))

    def close(self) -> None:
        """Returns when the threads have done what waits. A process that ended while one of them is
        in the engine would be aborted."""
        self._arrivals.put(None)
        for thread in self._threads:
            thread.join()

    def tokens(self, model: str, characters: int) -> int:
        """What a request of so many characters adds to the line, by a guess. A large one is worked
        through in parts, of which others wait for one: half a batch at most."""
        return min(self._throughputs[model].tokens(characters), self._limits.token_budget // 2)

    def full_for(self, tokens: int, now: float, coming: int = 0) -> int:
        """0 where so many tokens may join the line behind those that are already coming, else the
        seconds after which they may come again.

        A burst may wait. Where more comes in than can be done, a long line would only make
        everybody late: then nobody joins whose own work isn't about as much as what is ahead, so
        that an answer takes about twice its time at most.
        """
        strained = now - self._refused < OVERLOAD_SECONDS
        room = max(tokens, MIN_QUEUE_TOKENS) if strained else self._limits.max_waiting - tokens
        if self._tokens + coming <= max(room, 0):
            return 0
        self._refused = now
        return max(1, math.ceil(self._seconds))

    def _count(self, tokens: int, seconds: float) -> None:
        self._tokens += tokens
        self._seconds = self._seconds + seconds if self._tokens else 0.0  # no rounding adds up
        self._metrics.waiting_tokens.set(self._tokens)

    def _start(self) -> None:
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            for _ in range(2):
                thread = threading.Thread(target=self._work, name="batcher", daemon=True)
                thread.start()
                self._threads.append(thread)

    # What follows runs in threads of its own, and hands its results to the event loop.

    def _work(self) -> None:
        lower_thread_priority()
        while self._encode():
            # Whoever holds the lock looks again after giving it back, so that nobody is forgotten.
            while self._waiting and self._running.acquire(blocking=False):
                try:
                    ran = self._run()
                finally:
                    self._running.release()
                if self._waiting:  # the other thread may run it while this one decodes
                    self._arrivals.put(_BATCH_READY)
                if ran is not None:
                    self._deliver(ran.answers())

    def _encode(self) -> bool:
        """Encodes what came in; False when there will be no more."""
        with self._encoding:
            jobs = self._arrived()
            if jobs is None:
                return False
            ready: list[Job] = []
            jobs.sort(key=_encoding_group)
            for _, group in groupby(jobs, _encoding_group):
                ready += self._encoded([job for job in group if not job.left])
            ready.sort(key=lambda job: job.arrived)
            self._waiting.add(ready)
        return True

    def _arrived(self) -> list[Job] | None:
        """All that came in, when there is something to do; None when there will be no more."""
        items = [self._arrivals.get()]
        while not self._arrivals.empty():
            items.append(self._arrivals.get())
        if None in items:
            self._arrivals.put(None)  # seen again when the rest is done, and by the other thread
        return None if items == [None] else [item for item in items if isinstance(item, Job)]

    def _encoded(self, jobs: Sequence[Job]) -> list[Job]:
        """Those of the jobs, all of one model, that can be run."""
        if not jobs:
            return []
        rows = [row for job in jobs for row in job.rows]
        try:
            encodings = jobs[0].task.encode(rows, jobs[0].predictor.tokenizer, labelled=False)
        except Exception as error:
            self._deliver((job, error) for job in jobs)
            return []
        if len(jobs) > 1 and encodings.cut.tokens:  # what was cut isn't told for each of them
            return [one for job in jobs for one in self._encoded([job])]
        ready, start = [], 0
        for job in jobs:
            own = encodings if len(jobs) == 1 else encodings.part(start, start + len(job.rows))
            start += len(job.rows)
            try:
                job.encoded(*apply_length_policy(job, own, self._limits))
            except Exception as error:
                self._deliver([(job, error)])
            else:
                ready.append(job)
        characters = sum(job.characters for job in jobs)
        self._throughputs[jobs[0].model].read(len(encodings.ids), characters)
        return ready

    def _run(self) -> BatchResult | None:
        """The next batch, run; None where those who waited have left."""
        budget = self._limits.token_budget
        if (batch := self._waiting.take(budget)) is None:
            return None
        started = time.perf_counter()
        try:
            ran = run(batch, started)
        except Exception as error:
            ran = BatchResult(batch, error=error)
        seconds = time.perf_counter() - started
        self._throughputs[batch.model].ran(batch.tokens, seconds)
        self._metrics.batch_fill.labels(batch.model).observe(batch.tokens / budget)
        self._metrics.batch_seconds.labels(batch.model).observe(seconds)
        return ran

    def _deliver(self, answers: Iterable[Answer]) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(_answer, list(answers))


def lower_thread_priority() -> None:
    """Lets the event loop go first where cores are few: answering is quick, and so is refusing, if
    the models' threads don't stand before it. Threads that this one begins are as it is."""
    if hasattr(os, "setpriority"):
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), THREAD_NICENESS)


def _encoding_group(job: Job) -> tuple[str, int]:
    """Jobs of which this is equal are encoded together: short ones of one model. The long ones, and
    those of whom it must be told what is cut, by themselves."""
    alone = job.characters > MAX_CHARACTERS_ENCODED_TOGETHER or job.long != "window"
    return job.model, id(job) if alone else 0


def _answer(answers: Sequence[Answer]) -> None:
    for job, found in answers:
        if job.answer.done():
            continue
        if isinstance(found, Exception):
            job.answer.set_exception(found)
        else:
            job.answer.set_result(found)


@dataclass(frozen=True, slots=True)
class BatchResult:
    """A batch that has gone through the model."""

    batch: Batch
    encodings: Encodings | None = None
    logits: Logits | None = None
    error: Exception | None = None

    def answers(self) -> list[Answer]:
        """The predictions of those jobs of whom this batch has the last rows."""
        if self.error is not None:
            return [(one.job, self.error) for one in self.batch.slices]
        done = (one.job for one in self.batch.slices if one.stop == len(one.job.rows))
        return self._together() or [(job, decoded(job)) for job in done]

    def _together(self) -> list[Answer]:
        """Those of all jobs, which for many small ones is several times as fast as one by one. None
        where they want different things, have rows in other batches, or one of them fails."""
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


def run(batch: Batch, started: float) -> BatchResult:
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


def decoded(job: Job) -> list[Any] | Exception:
    assert job.encodings is not None
    try:
        return job.task.decode(job.rows, job.encodings, job.all_logits())
    except Exception as error:
        return error
