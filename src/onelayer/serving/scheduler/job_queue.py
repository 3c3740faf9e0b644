"""The queue of encoded jobs. It decides which rows are in the next batch; batches are counted in
tokens."""

from __future__ import annotations

import asyncio
import threading
from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from onelayer.engines.engine import RowModel
from onelayer.prediction.predictor import Predictor
from onelayer.serving.scheduler.throughput import NO_WORK, Work
from onelayer.tasks import AnyTask
from onelayer.tasks.logits import Logits
from onelayer.tokens.encodings import Encodings


@dataclass(slots=True, eq=False)
class Job:
    """The rows of one request. Encoding sets ``encodings``; each batch adds to ``logits``.

    The event loop makes it and reads it when ``answer`` is set. In between one thread at a time
    changes it.
    """

    model: str
    predictor: Predictor
    """With the coverage and abstention that the request wants."""
    rows: Sequence[Any]
    long: str
    characters: int
    answer: asyncio.Future[list[Any]]
    arrived: float
    work: Work = NO_WORK
    """What the backlog counts for it: an estimate."""
    tokens: int = 0
    """Of the rows that are encoded."""
    encodings: Encodings | None = None
    unread: int = 0
    """Tokens that a length limit left out."""
    cu_tokens: list[int] = field(default_factory=list)
    """(B + 1,) tokens before each row. A list: for few rows it is faster than an array."""
    next_row: int = 0
    logits: list[Logits] = field(default_factory=list)
    started: float | None = None
    """When its first rows went into a batch."""
    wants_logits: bool = False
    """Whether ``logits`` are read when it is answered."""
    row_model: RowModel | None = None
    """What encodes, runs and decodes its rows; None: each of that is done by itself."""
    found: list[Any] = field(default_factory=list)
    """The predictions of ``row_model`` so far."""
    failure: Exception | None = None
    """Why there are no such predictions."""
    left: bool = False
    """Whether nobody waits for the answer any more: the job is dropped."""

    @property
    def task(self) -> AnyTask:
        return self.predictor.task

    def all_logits(self) -> Logits:
        """(R, C). Call it when all rows have been run."""
        return self.logits[0] if len(self.logits) == 1 else np.concatenate(self.logits)

    def set_encodings(self, encodings: Encodings, unread: int) -> None:
        self.encodings = encodings
        self.unread = unread
        self.cu_tokens = encodings.cu_seqlens[encodings.cu_rows].tolist()
        self.tokens = self.cu_tokens[-1]

    def set_estimate(self) -> None:
        """Counts an equal share of the estimated tokens for each row."""
        n, tokens = len(self.rows), self.work.tokens
        self.cu_tokens = [tokens * row // max(n, 1) for row in range(n + 1)]

    def rows_within(self, start: int, tokens: int) -> int:
        """Where the longest run of rows from ``start`` with at most ``tokens`` tokens ends."""
        return bisect_right(self.cu_tokens, self.cu_tokens[start] + tokens) - 1

    def tokens_of(self, start: int, stop: int) -> int:
        return self.cu_tokens[stop] - self.cu_tokens[start]


@dataclass(frozen=True, slots=True)
class Slice:
    """The rows ``start:stop`` of a job."""

    job: Job
    start: int
    stop: int

    @property
    def is_part(self) -> bool:
        """Whether the job has more rows than these."""
        return self.stop - self.start < len(self.job.rows)

    @property
    def characters(self) -> int:
        """About how many its rows have."""
        return self.job.characters * (self.stop - self.start) // max(len(self.job.rows), 1)


@dataclass(frozen=True, slots=True)
class Batch:
    """What a model runs next."""

    model: str
    predictor: Predictor
    slices: Sequence[Slice]
    tokens: int


class JobQueue:
    """Encoded jobs, by model. Threads put jobs in and take batches out."""

    def __init__(self) -> None:
        # By name and engine, or row model: a model that replaces another one has its name, and
        # another engine.
        self._jobs: dict[tuple[str, int], deque[Job]] = {}
        self._lock = threading.Lock()

    def __bool__(self) -> bool:
        return bool(self._jobs)

    def add(self, jobs: Sequence[Job]) -> None:
        with self._lock:
            for job in jobs:
                key = job.model, id(job.row_model or job.predictor.engine)
                self._jobs.setdefault(key, deque()).append(job)

    def take(self, budget: int) -> Batch | None:
        """The next batch; None if no job waits."""
        with self._lock:
            for model in list(self._jobs):
                # Models take turns: this one goes to the end of the dict if it has jobs left.
                jobs = self._jobs.pop(model)
                jobs = deque(job for job in jobs if not job.left)
                if not jobs:
                    continue
                batch = batch_of(jobs, budget)
                # In the next batch, jobs that got nothing in this one come first.
                unfinished = [job for job in jobs if job.next_row < len(job.rows)]
                if unfinished:
                    served = {id(one.job) for one in batch.slices}
                    unfinished.sort(key=lambda job: id(job) in served)
                    self._jobs[model] = deque(unfinished)
                return batch
            return None


def batch_of(jobs: Sequence[Job], budget: int) -> Batch:
    """Chooses rows of the jobs for a batch of at most ``budget`` tokens.

    First come, first served, in two rounds: each job gets up to an even share, then the earliest
    jobs get what is left. So a request with a single text doesn't wait for one with a thousand. A
    row with more tokens than the budget is a batch of its own.
    """
    stops = [job.next_row for job in jobs]
    left = budget
    for share in (budget // len(jobs), budget):
        for i, job in enumerate(jobs):
            start = stops[i]
            if start == len(job.rows) or left <= 0:
                continue
            stop = job.rows_within(start, min(share, left))
            if stop == start and start == job.next_row:
                stop += 1  # one row at least, also if it has more tokens than the share
            tokens = job.tokens_of(start, stop)
            if tokens <= left or left == budget:
                stops[i] = stop
                left -= tokens
    slices = [Slice(job, job.next_row, stop) for job, stop in zip(jobs, stops, strict=True)]
    for job, stop in zip(jobs, stops, strict=True):
        job.next_row = stop
    return Batch(
        jobs[0].model, jobs[0].predictor, [s for s in slices if s.stop > s.start], budget - left
    )
