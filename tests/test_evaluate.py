"""Evaluation reads a file chunk by chunk: the scores equal those of the whole file, and only a few
numbers of each row stay in memory."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from itertools import cycle, islice
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onelayer.metrics import intervals
from onelayer.prediction import predictor as predictor_module
from onelayer.prediction.predictor import Predictor
from onelayer.recipe import Recipe
from onelayer.tasks.labelled import read_labelled
from onelayer.tokens.encodings import Encodings
from onelayer.tokens.tokenizer import Tokenizer
from support.from_tokens import FromTokens
from support.task_cases import CASES, LONG, Case

pytestmark = pytest.mark.slow

BYTES_A_ROW = {"answer": 500}
"""Bytes; a margin above what is kept. An answer's candidates alone would take thousands."""


@dataclass
class Setup:
    """A task, labelled rows and a random model."""

    case: Case
    rows: list[Any]
    predictor: Predictor
    engine: FromTokens

    def predict(self, rows: Sequence[Any]) -> list[Any]:
        return self.predictor.predict_rows(rows)


@pytest.fixture(scope="module")
def setups(
    tmp_path_factory: pytest.TempPathFactory, tokenizer: Tokenizer
) -> Callable[[str], Setup]:
    def setup(name: str) -> Setup:
        case = next(case for case in CASES if case.name == name)
        file = case.write(tmp_path_factory.mktemp("rows"))
        recipe = Recipe(**LONG.get(case.task, {}) | case.choices)
        kind, layout, rows = read_labelled(file, recipe, lambda _: None)
        task = kind.fit(rows, tokenizer, recipe, 64)
        engine = FromTokens(len(task.outputs))
        return Setup(case, rows, Predictor(task, tokenizer, engine, layout), engine)

    return setup


@pytest.fixture(scope="module", params=[case.name for case in CASES])
def setup(request: pytest.FixtureRequest, setups: Callable[[str], Setup]) -> Setup:
    return setups(request.param)


@settings(max_examples=25)
@given(data=st.data())
def test_chunked_scores_equal_whole_scores(setup: Setup, data: st.DataObject) -> None:
    places = st.lists(st.integers(0, len(setup.rows) - 1), min_size=1, max_size=20)
    rows = [setup.rows[i] for i in data.draw(places)]
    task = setup.predictor.task
    whole = task.score(rows, setup.predict(rows))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(predictor_module, "CHUNK", data.draw(st.integers(1, 7)))
        chunked = setup.predictor.evaluate(rows)
    assert len(chunked) == len(whole) == len(rows)
    np.testing.assert_equal(chunked(), whole())
    np.testing.assert_equal(intervals(chunked, n_resamples=5), intervals(whole, n_resamples=5))
    for table in ("by_label", "by_type"):
        if hasattr(whole, table):
            assert getattr(chunked, table)() == getattr(whole, table)()


@settings(max_examples=25)
@given(data=st.data())
def test_tuning_by_chunks_equals_tuning_on_the_whole(setup: Setup, data: st.DataObject) -> None:
    """The returned scores equal those of the tuned task's own predictions."""
    places = st.lists(st.integers(0, len(setup.rows) - 1), min_size=1, max_size=20)
    rows = [setup.rows[i] for i in data.draw(places)]
    task, tokenizer = setup.predictor.task, setup.predictor.tokenizer
    encodings = task.encode(rows, tokenizer, labelled=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(predictor_module, "CHUNK", data.draw(st.integers(1, 7)))
        tuned, scorer = task.tune(rows, setup.predictor.run_encoded(rows, encodings))
    logits = setup.engine.logits(encodings)
    assert tuned == task.tune(rows, [(rows, encodings, logits)])[0]
    again = tuned.decode(rows, encodings, logits)
    np.testing.assert_equal(scorer(), tuned.score(rows, again)())


def test_part_of_encodings_equals_encoding_that_part(setup: Setup) -> None:
    task, tokenizer = setup.predictor.task, setup.predictor.tokenizer
    whole = task.encode(setup.rows, tokenizer, labelled=True)
    for start, stop in ((0, 5), (5, 6), (7, len(setup.rows)), (0, len(setup.rows))):
        part = whole.part(start, stop)
        expected = task.encode(setup.rows[start:stop], tokenizer, labelled=True)
        for name in (f.name for f in fields(Encodings) if f.name != "cut"):
            np.testing.assert_array_equal(getattr(part, name), getattr(expected, name), name)


def test_some_rows_of_encodings_equal_encoding_those_rows(setup: Setup) -> None:
    task, tokenizer = setup.predictor.task, setup.predictor.tokenizer
    whole = task.encode(setup.rows, tokenizer, labelled=True)
    for numbers in ([3, 0, 7], [5], list(range(1, len(setup.rows), 2))):
        some = whole.of_rows(np.array(numbers))
        expected = task.encode([setup.rows[i] for i in numbers], tokenizer, labelled=True)
        for name in (f.name for f in fields(Encodings) if f.name != "cut"):
            np.testing.assert_array_equal(getattr(some, name), getattr(expected, name), name)


class GeneratedRows:
    """``n`` rows that are created again in each pass; ``watch`` is called at every tenth."""

    def __init__(self, setup: Setup, n: int, watch: Callable[[], None] = lambda: None) -> None:
        self.setup, self.n, self.watch = setup, n, watch

    def __iter__(self) -> Iterator[Any]:
        for i, row in enumerate(islice(cycle(self.setup.rows), self.n), start=1):
            if i % 10 == 0:
                self.watch()
            yield replace(row)


def test_chunk_is_freed_before_the_next_one(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictor_module, "CHUNK", 10)
    kinds = (type(setup.rows[0]), setup.case.prediction)
    alive: list[int] = []

    def count() -> None:
        things = [type(thing) for thing in gc.get_objects()]
        alive.extend(things.count(kind) for kind in kinds)

    monkeypatch.setattr(setup.engine, "watch", count)
    gc.freeze()  # don't count the objects that exist already
    try:
        assert len(setup.predictor.evaluate(GeneratedRows(setup, 60, count))) == 60
    finally:
        gc.unfreeze()
    # the rows of a chunk, and a few that the scorer holds
    assert 10 <= max(alive) <= 14


@pytest.mark.parametrize(
    "name",
    ["classify multi-label", "regress", "tag BIOES", "tag plain", "answer or none", "choose"],
)
def test_memory_grows_by_few_bytes_a_row(
    setups: Callable[[str], Setup], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup = setups(name)
    monkeypatch.setattr(predictor_module, "CHUNK", 10)

    def peak(n: int) -> int:
        tracemalloc.start()
        try:
            setup.predictor.evaluate(GeneratedRows(setup, n))
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(50)  # fill caches that are made once, such as patterns
    assert peak(400) - peak(50) < 350 * BYTES_A_ROW.get(setup.case.task, 150)
