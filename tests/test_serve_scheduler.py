"""The scheduler: batches by tokens in order of arrival, and refusals by a full queue."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onelayer.base.errors import UsageError
from onelayer.data.layout import Layout
from onelayer.prediction.predictor import Predictor
from onelayer.serving.http.admission import OVERLOAD_SECONDS, Admission
from onelayer.serving.limits import Limits
from onelayer.serving.request_errors import RequestError
from onelayer.serving.scheduler.batcher import THREAD_NICENESS, Batcher
from onelayer.serving.scheduler.job_queue import Batch, Job, JobQueue, batch_of
from onelayer.serving.scheduler.throughput import Backlog, Throughput, Work
from onelayer.serving.server_metrics import ServerMetrics
from onelayer.tasks import Regress
from onelayer.tokens.encodings import Encodings, cumulate
from onelayer.tokens.tokenizer import Tokenizer


class Slow:
    """An engine that runs when allowed, and records the number of rows of each call."""

    name = "slow"

    def __init__(self) -> None:
        self.let = threading.Event()
        self.entered = threading.Semaphore(0)
        self.seen: list[int] = []

    def logits(self, encodings: Encodings) -> Any:
        self.entered.release()
        assert self.let.wait(timeout=20)
        self.seen.append(len(encodings))
        return encodings.ids[encodings.cu_seqlens[:-1] + 1, None].astype(np.float32)


def slow(tokenizer: Tokenizer) -> Predictor:
    """The id of the first token of each text."""
    return Predictor(Regress(max_length=64), tokenizer, Slow(), Layout({"text": "text"}))


@pytest.fixture
def predictor(tokenizer: Tokenizer) -> Predictor:
    return slow(tokenizer)


def job(predictor: Predictor, *texts: str, model: str = "m") -> Job:
    rows = [predictor.row_by_role({"text": text}, 1) for text in texts]
    loop = asyncio.new_event_loop()
    answer = loop.create_future()
    loop.close()
    return Job(model, predictor, rows, "window", sum(map(len, texts)), answer, 0.0)


def encoded(predictor: Predictor, lengths: Sequence[int], model: str = "m") -> Job:
    """A job of rows with these numbers of tokens."""
    made = job(predictor, *["x"] * len(lengths), model=model)
    cu, each = cumulate(lengths), np.arange(len(lengths) + 1)
    ids = np.zeros(int(cu[-1]), np.int32)
    made.set_encodings(Encodings(ids, ids, cu, 0 * each[1:], each, each, each, np.diff(cu)), 0)
    return made


def parts(batch: Batch | None, *jobs: Job) -> dict[int, tuple[int, int]]:
    assert batch is not None
    return {jobs.index(one.job): (one.start, one.stop) for one in batch.slices}


def test_batch_takes_what_fits_in_order_of_arrival(predictor: Predictor) -> None:
    jobs = [encoded(predictor, [30]) for _ in range(4)]

    assert parts(batch_of(jobs, 100), *jobs) == {0: (0, 1), 1: (0, 1), 2: (0, 1)}


def test_large_job_leaves_room_for_a_small_one(predictor: Predictor) -> None:
    large, small = encoded(predictor, [10] * 1000), encoded(predictor, [10])

    assert parts(batch_of([large, small], 100), large, small) == {0: (0, 9), 1: (0, 1)}


def test_row_beyond_the_budget_is_a_batch_of_its_own(predictor: Predictor) -> None:
    small, huge = encoded(predictor, [10, 10]), encoded(predictor, [500])
    waiting = JobQueue()
    waiting.add([small, huge])

    assert parts(waiting.take(100), small, huge) == {0: (0, 2)}
    assert parts(waiting.take(100), small, huge) == {1: (0, 1)}


def test_models_take_turns(predictor: Predictor) -> None:
    a, b = encoded(predictor, [60] * 3, model="a"), encoded(predictor, [60] * 2, model="b")
    waiting = JobQueue()
    waiting.add([a, b])

    taken = [waiting.take(100) for _ in range(5)]

    assert [batch.model for batch in taken if batch] == ["a", "b", "a", "b", "a"]


def test_job_of_a_caller_who_left_is_not_taken(predictor: Predictor) -> None:
    left, there = encoded(predictor, [10]), encoded(predictor, [10])
    waiting = JobQueue()
    waiting.add([left, there])
    left.left = True

    assert parts(waiting.take(100), left, there) == {1: (0, 1)}
    assert waiting.take(100) is None
    assert not waiting


@given(
    jobs=st.lists(st.lists(st.integers(1, 60), min_size=1, max_size=8), min_size=1, max_size=6),
    budget=st.integers(1, 100),
)
def test_every_row_is_taken_once_and_in_order(
    tokenizer: Tokenizer, jobs: list[list[int]], budget: int
) -> None:
    predictor = slow(tokenizer)
    made = [encoded(predictor, lengths) for lengths in jobs]
    waiting = JobQueue()
    waiting.add(made)
    taken: list[list[int]] = [[] for _ in made]
    while batch := waiting.take(budget):
        assert batch.tokens == sum(one.job.tokens_of(one.start, one.stop) for one in batch.slices)
        assert batch.tokens <= budget or sum(one.stop - one.start for one in batch.slices) == 1
        for one in batch.slices:
            taken[made.index(one.job)] += range(one.start, one.stop)

    assert taken == [list(range(len(lengths))) for lengths in jobs]


def test_throughput_follows_recent_batches() -> None:
    throughput = Throughput()
    for _ in range(50):
        throughput.record_batch(100, 0.2)
        throughput.record_encoding(tokens=50, characters=200)

    assert throughput.estimate_seconds(1000) == pytest.approx(2.0, rel=0.01)
    assert throughput.estimate_tokens(400) == pytest.approx(102, abs=1)


class Server:
    """Runs a batcher in an event loop and sends requests to it."""

    def __init__(self, predictor: Predictor, **limits: Any) -> None:
        assert isinstance(predictor.engine, Slow)
        self.engine = predictor.engine
        self.predictor = predictor
        metrics = ServerMetrics()
        self.batcher = Batcher(Limits(**limits), metrics)
        self.admission = Admission(Limits(**limits), self.batcher.backlog, metrics)
        self.clock = 0.0

    def ask(self, *texts: str) -> asyncio.Task[list[Any]]:
        made = job(self.predictor, *texts)
        made.answer, made.arrived = asyncio.get_running_loop().create_future(), self.clock
        return asyncio.create_task(self._predict(made))

    async def _predict(self, made: Job) -> list[Any]:
        made.work = self.batcher.backlog.estimate(made.model, made.characters)
        if problem := self.admission.refuse_queue(made.work, made.arrived):
            raise problem
        return await self.batcher.predict(made)

    async def in_engine(self) -> None:
        """Returns when a batch is in the engine."""
        assert await asyncio.to_thread(self.engine.entered.acquire, timeout=20)

    def run(self, story: Coroutine[Any, Any, None]) -> None:
        async def to_the_end() -> None:
            try:
                await story
            finally:
                self.engine.let.set()
                while self.batcher.backlog.tokens:
                    await asyncio.sleep(0.001)

        asyncio.run(to_the_end())
        self.batcher.close()


def test_next_batch_gathers_while_one_runs(predictor: Predictor) -> None:
    server = Server(predictor)

    async def story() -> None:
        first = server.ask("a")
        await server.in_engine()
        others = [server.ask(text) for text in "bcd"]
        two = server.ask("e", "f")
        await asyncio.sleep(0)
        while server.batcher._arrivals.qsize():
            await asyncio.sleep(0.001)
        server.engine.let.set()
        answers = await asyncio.gather(first, *others, two)
        ids = [server.predictor.tokenizer.pieces([text]).ids[0] for text in "abcdef"]
        assert [one.value for answer in answers for one in answer] == ids

    server.run(story())
    assert sum(server.engine.seen) == 6
    assert len(server.engine.seen) < 5  # all alone would be five


@dataclass(frozen=True, slots=True, kw_only=True)
class FailsOn(Regress):
    """A task that fails to decode rows with this text."""

    but: str

    def decode(self, rows: Sequence[Any], encodings: Encodings, logits: Any) -> list[Any]:
        if any(row.text == self.but for row in rows):
            raise ValueError("not this one")
        return Regress.decode(self, rows, encodings, logits)


def test_failing_job_does_not_fail_the_others_of_its_batch(predictor: Predictor) -> None:
    server = Server(replace(predictor, task=FailsOn(max_length=64, but="b")))

    async def story() -> None:
        first = server.ask("a")
        await server.in_engine()
        others = [server.ask(text) for text in "abc"]
        server.engine.let.set()
        found = await asyncio.gather(first, *others, return_exceptions=True)
        assert [isinstance(one, ValueError) for one in found] == [False, False, True, False]

    server.run(story())


def test_caller_who_leaves_while_waiting_costs_nothing(predictor: Predictor) -> None:
    server = Server(predictor)

    async def story() -> None:
        first = server.ask("a")
        await server.in_engine()
        leaving = server.ask("b", "c")
        await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        server.engine.let.set()
        await first
        await server.ask("d")

    server.run(story())
    assert server.engine.seen == [1, 1]


def test_job_of_a_caller_who_left_is_not_encoded(predictor: Predictor) -> None:
    batcher = Batcher(Limits(), ServerMetrics())
    left, there = job(predictor, "a"), job(predictor, "b")
    left.left = True
    for item in (left, there, None):
        batcher._arrivals.put(item)

    batcher._encode_arrivals()

    assert left.encodings is None
    assert there.encodings is not None


def test_burst_waits_and_overload_is_refused(predictor: Predictor) -> None:
    server = Server(predictor, max_waiting=1000)
    text = "the " * 100  # estimated at 135 tokens, of them 64 are read

    async def refused(*texts: str) -> bool:
        task = server.ask(*texts)
        await asyncio.sleep(0)
        if task.done():
            error = task.exception()
            assert isinstance(error, RequestError)
            assert (error.status, int(error.headers["retry-after"])) == (429, 1)
            return True
        return False

    async def story() -> None:
        let_in = 0
        while not await refused(text):
            let_in += 1
        assert 6 <= let_in <= 15
        server.engine.let.set()
        while server.batcher.backlog.tokens:
            await asyncio.sleep(0.001)
        for _ in range(100):  # alone, until the estimates follow what was measured
            await server.ask(text)
        server.engine.let.clear()
        server.clock += OVERLOAD_SECONDS / 2
        backlog = server.batcher.backlog
        (name,) = backlog._throughput
        backlog.usual_seconds = backlog.estimate(name, len(text)).seconds
        assert not await refused(text)  # nothing is ahead
        assert not await refused(text)  # no more than its own work
        assert await refused(text)
        assert await refused("the ")
        server.clock += OVERLOAD_SECONDS * 2
        assert not await refused(text)

    server.run(story())


def test_request_in_an_overload_waits_no_longer_than_a_usual_one_takes() -> None:
    metrics = ServerMetrics()
    backlog = Backlog(Limits(), metrics)
    admission = Admission(Limits(max_waiting=100), backlog, metrics)
    short, usual, long = (backlog.estimate("m", characters) for characters in (30, 120, 240))
    for _ in range(100):
        backlog.add(*usual)
        backlog.add(-usual.tokens, -usual.seconds)

    def accepted(work: Work, ahead: Work, now: float) -> bool:
        backlog.tokens, backlog.seconds = ahead
        return admission.refuse_queue(work, now) is None

    assert accepted(short, Work(80, 1.0), now=0)  # a burst: only the tokens count
    assert not accepted(short, Work(101, 1.0), now=0)  # and now it is an overload
    assert not accepted(short, Work(80, 1.0), now=OVERLOAD_SECONDS / 2)
    assert accepted(short, short, now=OVERLOAD_SECONDS)
    assert not accepted(short, long, now=OVERLOAD_SECONDS)
    assert accepted(long, short, now=OVERLOAD_SECONDS)
    longer = Work(50, 1.2 * usual.seconds)
    assert accepted(longer, longer, now=OVERLOAD_SECONDS)
    assert not accepted(long, long, now=OVERLOAD_SECONDS)
    assert accepted(short, Work(80, 1.0), now=OVERLOAD_SECONDS * 3)


@pytest.mark.parametrize(("name", "value"), [("token_budget", 0), ("body_timeout", -1.0)])
def test_impossible_limits_are_refused(name: str, value: float) -> None:
    flag = name.replace("_", "-")
    with pytest.raises(UsageError, match=f"--{flag} can't be {value:g}"):
        Limits(**{name: value})  # type: ignore[arg-type]
    assert Limits(notice=0).notice == 0  # times may be zero and whole numbers


def test_model_threads_have_lower_priority_than_the_event_loop(predictor: Predictor) -> None:
    server = Server(predictor)
    server.engine.let.set()
    mine = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    async def story() -> None:
        await server.ask("a")
        theirs = [
            os.getpriority(os.PRIO_PROCESS, thread.native_id or 0)
            for thread in server.batcher._threads
        ]
        assert theirs == [min(THREAD_NICENESS, 19)] * 2

    server.run(story())
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == mine
