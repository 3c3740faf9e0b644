"""Measures smaller models beside their run: size, speed, scores and what was lost."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from onelayer.base.machine import cores
from onelayer.checkpoint.bundle import FIRST, FOLDER, GRAPH, RECORD
from onelayer.checkpoint.config import CONFIG
from onelayer.checkpoint.export_record import Speed
from onelayer.data.rows import Rows
from onelayer.evaluation.compare import Twice
from onelayer.exporting.parity import Kept
from onelayer.exporting.speed import PredictsRows, sample_of, speeds_on
from onelayer.metrics import intervals, paired_differences
from onelayer.prediction.load import load
from onelayer.prediction.predictor import Predictor
from onelayer.shrinking.rung import RungScore
from onelayer.tasks import AnyTask
from onelayer.tasks.protocol import Chunk, decoded

TOKENIZER = ("tokenizer.json", "tokenizer_config.json")
SECONDS = 1.0
"""Rounds of a fast model are timed until they took this long together."""
PARALLEL_TOKENIZER = "TOKENIZERS_PARALLELISM"
"""The variable by which the package ``tokenizers`` knows whether to use several threads."""


class AnswersRows(PredictsRows, Protocol):
    """A model that is measured: a `Predictor`, or one without tokens."""

    @property
    def task(self) -> AnyTask:
        """What it predicts, with its thresholds."""
        ...

    def predict_each(self, rows: Iterable[Any]) -> Iterator[Any]:
        """A prediction for each row, one chunk at a time."""
        ...


class NamedRows(NamedTuple):
    """Labelled rows that score every rung."""

    rows: Rows
    file: str
    """Their name in tables."""


class RungScores(NamedTuple):
    """The scores of a rung; ``test`` is None where there are no test rows."""

    dev: RungScore
    test: RungScore | None


class BesideRun:
    """Scores models beside a run, which computes its answers only once.

    Predictions go by as a stream. Memory grows by a few numbers per row; the run's logits are kept
    on the disk until this object goes.
    """

    def __init__(self, run: Predictor, dev: NamedRows, test: NamedRows | None = None) -> None:
        self.run = run
        self._dev = _OnRows(run, dev)
        self._test = _OnRows(run, test) if test is not None else None

    def scores(self, model: AnswersRows | None = None) -> RungScores:
        """The scores of a model, and what it loses against the run; None stands for the run."""
        return RungScores(
            self._dev.score(model), None if self._test is None else self._test.score(model)
        )


@dataclass(slots=True)
class _OnRows:
    run: Predictor
    named: NamedRows
    _kept: Kept | None = None

    def score(self, model: AnswersRows | None) -> RungScore:
        task, rows = self.run.task, self.named.rows
        own = decoded(task, self._chunks_of_run()) if model is None else model.predict_each(rows)
        scorer = task.score(rows, own)
        loss = _NOTHING_LOST if model is None else self._loss(model)
        return RungScore(
            rows=len(scorer),
            file=self.named.file,
            metric=task.metric,
            score=scorer()[task.metric],
            interval=intervals(scorer)[task.metric],
            lost=loss.points,
            lost_interval=loss.interval,
            p=loss.p,
        )

    def _loss(self, model: AnswersRows) -> _Loss:
        """Both predict a chunk before the next one is read, as in `compare_models`."""
        task, rows = self.run.task, self.named.rows
        scorer = task.score(Twice(rows), self._by_turns(model))
        found = paired_differences(scorer)[task.metric]
        # The difference is the model's score minus the run's; 0 - x has no negative zero.
        lost, high, low = (0.0 - x / task.point for x in (found.difference, *found.interval))
        return _Loss(lost, (low, high), float(found.p))

    def _by_turns(self, model: AnswersRows) -> Iterator[Any]:
        for chunk in self._chunks_of_run():
            for pair in zip(
                self.run.task.decode(*chunk), model.predict_rows(chunk[0]), strict=True
            ):
                yield from pair

    def _chunks_of_run(self) -> Iterator[Chunk[Any]]:
        if self._kept is None:
            self._kept = Kept(self.run.engine, self.run.tokenizer)
        self._kept.rewind()
        return self._kept.chunks(self.run.task, self.named.rows)


class _Loss(NamedTuple):
    """What the run scores more, in points."""

    points: float
    interval: tuple[float, float]
    p: float


_NOTHING_LOST = _Loss(0.0, (0.0, 0.0), 1.0)


def speeds_by_threads(
    models: Mapping[str, AnswersRows],
    run: Predictor,
    rows: Rows,
    threads: Sequence[int] = (),
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, dict[int, Speed]]:
    """The speed of every model, from text to answer, by the number of threads. For each number all
    models take turns on the same rows.

    Parameters
    ----------
    models
        By name. A `Predictor` is opened again for another number of threads; others compute on one.
    run
        Its tokens decide how many rows are timed.
    rows
        The rows.
    threads
        The numbers of threads; by default one, and one for each processor.
    clock
        Gives the time in seconds.
    """
    sample = sample_of(run, rows)
    found: dict[str, dict[int, Speed]] = {name: {} for name in models}
    for n in sorted(set(threads or (1, cores()))):
        opened = {name: _on_threads(model, n) for name, model in models.items()}
        with _tokenizing_on(n):
            for name, speed in speeds_on(opened, sample, clock, SECONDS).items():
                found[name][n] = speed
    return found


def _on_threads(model: AnswersRows, n: int) -> AnswersRows:
    if not isinstance(model, Predictor) or model.path is None or n == cores():
        return model
    return load(model.path, model.engine.name, n)


@contextmanager
def _tokenizing_on(threads: int) -> Iterator[None]:
    """Keeps the package ``tokenizers`` from using more than one thread, where that is measured. It
    reads the variable at each call."""
    before = os.environ.get(PARALLEL_TOKENIZER)
    if threads == 1:
        os.environ[PARALLEL_TOKENIZER] = "false"
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(PARALLEL_TOKENIZER, None)
        else:
            os.environ[PARALLEL_TOKENIZER] = before


def bytes_to_predict(folder: Path) -> int:
    """The bytes of all that predicting with a run or a bundle reads: weights, graph, vocabulary,
    configuration and record. Reports, model cards and states of training don't count."""
    models = [folder, folder / FIRST]
    weights = [path for one in models for path in (one / FOLDER / GRAPH, one / CONFIG)]
    for one in models:
        weights += [*one.glob("*.safetensors"), *(one / FOLDER).glob("*.safetensors")]
    others = (folder / name for name in (RECORD, *TOKENIZER))
    return sum(path.stat().st_size for path in (*weights, *others) if path.is_file())
