"""Small jobs are run by the engine's own model, with the answers of the step-by-step way."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from onelayer.data.layout import Layout
from onelayer.engines.engine import FoundRows
from onelayer.prediction.predictor import Predictor
from onelayer.serving.limits import Limits
from onelayer.serving.request_errors import RequestError
from onelayer.serving.scheduler.batcher import Batcher
from onelayer.serving.scheduler.job_queue import Job
from onelayer.serving.scheduler.throughput import Work
from onelayer.serving.server_metrics import ServerMetrics
from onelayer.tasks import AnyTask, Regress
from onelayer.tasks.regress.regress import Value
from onelayer.tokens.encodings import Cut, Encodings
from onelayer.tokens.tokenizer import Tokenizer

BAD = "a text that the row model refuses"


@dataclass
class Lengths:
    """A row model: a text's number is its length."""

    task: AnyTask

    def predict(self, rows: Sequence[Any]) -> FoundRows | None:
        if any(row.text == BAD for row in rows):
            return None
        sizes = [len(row.text) for row in rows]
        return FoundRows([Value(size) for size in sizes], Cut(), sizes, [1] * len(rows))


class Both:
    """An engine with a row model; step by step every number is -1."""

    name = "both"

    def logits(self, encodings: Encodings) -> Any:
        return np.full((len(encodings.reads), 1), -1, np.float32)

    def row_model(self, task: AnyTask, tokenizer: Tokenizer, layout: Layout) -> Lengths:
        return Lengths(task)


@pytest.fixture
def predictor(tokenizer: Tokenizer) -> Predictor:
    found = Predictor(Regress(max_length=64), tokenizer, Both(), Layout({"text": "text"}))
    assert found.row_model() is not None  # as warming up makes it
    return found


def answers(
    predictor: Predictor, *jobs: Sequence[str], limits: Limits | None = None, **more: Any
) -> list[Any]:
    """The numbers of each job, or its error; and the last job."""
    batcher = Batcher(limits or Limits(), ServerMetrics())

    async def story() -> list[Any]:
        made = []
        for texts in jobs:
            rows = [predictor.row_by_role({"text": text}, 1) for text in texts]
            answer = asyncio.get_running_loop().create_future()
            size = sum(map(len, texts))
            job = Job("m", predictor, rows, "window", size, answer, 0.0, Work(size, 0.0))
            for name, value in more.items():
                setattr(job, name, value)
            made.append(job)
        found = await asyncio.gather(*map(batcher.predict, made), return_exceptions=True)
        return [
            one if isinstance(one, BaseException) else [value.value for value in one]
            for one in found
        ] + [made[-1]]

    try:
        return asyncio.run(story())
    finally:
        batcher.close()


def test_small_jobs_are_run_by_the_row_model(predictor: Predictor) -> None:
    *found, job = answers(predictor, ["a", "bcd"], ["ef"])
    assert found == [[1, 3], [2]]
    assert (job.tokens, job.unread) == (2, 1)


def test_job_in_parts_gets_all_its_answers(predictor: Predictor) -> None:
    texts = ["x" * size for size in range(1, 30)]
    found, job = answers(predictor, texts, limits=Limits(token_budget=64))
    assert found == list(range(1, 30))
    assert job.tokens == sum(range(1, 30))


@pytest.mark.parametrize("more", [{"wants_logits": True}, {"long": "truncate"}])
def test_caller_who_asks_for_more_is_served_step_by_step(
    more: dict[str, Any], predictor: Predictor
) -> None:
    found, job = answers(predictor, ["a"], **more)
    assert found == [-1]
    assert len(job.all_logits()) == 1


def test_long_job_is_served_step_by_step(predictor: Predictor) -> None:
    assert answers(predictor, ["good " * 500])[0] == [-1]


def test_refused_row_is_answered_step_by_step(predictor: Predictor) -> None:
    assert answers(predictor, [BAD])[0] == [-1]


def test_text_beyond_the_servers_limit_is_refused(predictor: Predictor) -> None:
    limits = Limits(max_tokens=32)
    found, _ = answers(predictor, ["x" * 40], limits=limits)
    assert isinstance(found, RequestError)
    assert "has 40 tokens" in str(found)
