"""Collects what a report shows from a model and labelled rows, in one pass over the rows."""

from __future__ import annotations

import heapq
import math
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from onelayer.base.errors import Place
from onelayer.checkpoint.record import ModelRecord
from onelayer.data.rows import chunks_of
from onelayer.evaluation.caveats import CROSS_VALIDATED, SeenRows, caveats_of_labels
from onelayer.evaluation.report.facts import (
    Beliefs,
    Confusions,
    Counts,
    Evaluation,
    Learning,
    Lengths,
    ReportFacts,
    WrongRow,
)
from onelayer.metrics import Classification, Confidence, Regression, Scorer, intervals
from onelayer.prediction.predictor import CHUNK, Predictor
from onelayer.tasks import AnyTask, task_from_json, task_to_json
from onelayer.tasks.protocol import Chunk

MAX_MISTAKES = 20
"""Mistakes on the page. Their rows are kept in memory."""
NO_LIMIT = 1 << 40
"""A length limit that cuts nothing."""


def facts_of(
    predictor: Predictor,
    rows: Iterable[Any],
    file: str,
    seconds: Sequence[float] = (),
    out_of_fold: Chunk[Any] | None = None,
) -> ReportFacts:
    """The facts of a model on labelled ``rows``, which are iterated over more than once.
    ``seconds`` has the duration of each training step. ``out_of_fold`` has these rows with the
    logits of cross-validation; by default the model computes them."""
    record = predictor.record
    task = predictor.task
    return ReportFacts(
        name=predictor.path.name if predictor.path else "model",
        task=task.name,
        label_noun=task.label_noun,
        metric=task.metric,
        summary=task.summary,
        evaluation=evaluation(predictor, rows, file, out_of_fold),
        learning=_learning(record, task.metric, seconds),
        record=record,
    )


def evaluation(
    predictor: Predictor, rows: Iterable[Any], file: str, out_of_fold: Chunk[Any] | None = None
) -> Evaluation:
    """Predicts every row, scores, and collects the values of the page."""
    task = predictor.task
    seen = _Seen(task)
    known = SeenRows.by(predictor)
    cut = predictor.cut
    whole = task_from_json({**task_to_json(task), "max_length": NO_LIMIT})

    def chunks() -> Iterator[Chunk[Any]]:
        if out_of_fold is not None:
            yield out_of_fold
            return
        for chunk in chunks_of(CHUNK, rows):
            yield predictor.run_rows(chunk)

    def predictions() -> Iterator[Any]:
        for chunk in chunks():
            seen.measure(whole.encode(chunk[0], predictor.tokenizer, labelled=False).lengths)
            for row, prediction in zip(chunk[0], task.decode(*chunk), strict=True):
                seen.see(row, prediction)
                known.look(row)
                yield prediction

    scorer = task.score(rows, predictions())
    confusions = seen.confused(task.outputs)
    return Evaluation(
        file=file,
        rows=len(scorer),
        scores=scorer(),
        intervals=intervals(scorer),
        by_label=_by_label(task, scorer, confusions),
        lengths=Lengths(
            seen.lengths,
            limit=int(task_to_json(task)["max_length"]),
            cut_tokens=predictor.cut.tokens - cut.tokens,
            cut_rows=predictor.cut.rows - cut.rows,
            of_options=not task.reads_windows,
        ),
        mistakes=tuple(
            WrongRow(_where(row.place), -n, task.mistake(row, prediction))
            for _, n, row, prediction in seen.worst_first()
        ),
        wrong=seen.wrong,
        confusions=confusions,
        numbers=(
            (scorer.gold.astype(np.float64), scorer.predicted.astype(np.float64))
            if isinstance(scorer, Regression)
            else None
        ),
        beliefs=_beliefs(scorer, seen),
        caveats=tuple(_caveats(task, scorer, known, out_of_fold is not None)),
        perfect=100 * task.point,
    )


def _caveats(task: AnyTask, scorer: Scorer, known: SeenRows, is_out_of_fold: bool) -> Iterator[str]:
    yield from caveats_of_labels(task, scorer)
    if not is_out_of_fold:
        yield from known.caveats()
        return
    yield from known.on_repeats()
    yield from known.on_tuning()
    yield CROSS_VALIDATED


@dataclass(slots=True)
class _Seen:
    """What is kept of the rows so far."""

    task: AnyTask
    n: int = 0
    wrong: int = 0
    worst: list[tuple[float, int, Any, Any]] = field(default_factory=list)
    lengths: Counts = field(default_factory=lambda: np.zeros(1, np.int64))
    pairs: Counter[tuple[str, str]] = field(default_factory=Counter)
    probabilities: array[float] = field(default_factory=lambda: array("d"))
    truths: array[int] = field(default_factory=lambda: array("b"))

    def measure(self, lengths: Any) -> None:
        counts = np.bincount(lengths, minlength=len(self.lengths))
        counts[: len(self.lengths)] += self.lengths
        self.lengths = counts

    def see(self, row: Any, prediction: Any) -> None:
        judged = self.task.judge(row, prediction)
        self.n += 1
        self.pairs.update(judged.confusions)
        for p, true in judged.beliefs:
            self.probabilities.append(p)
            self.truths.append(true)
        if judged.badness > 0:
            self.wrong += 1
            # Of equal mistakes the first is kept. Numbers differ, so rows are never compared.
            item = (judged.badness, -self.n, row, prediction)
            (heapq.heappush if len(self.worst) < MAX_MISTAKES else heapq.heappushpop)(
                self.worst, item
            )

    def worst_first(self) -> list[tuple[float, int, Any, Any]]:
        return sorted(self.worst, key=lambda item: item[:2], reverse=True)

    def confused(self, labels: Sequence[str]) -> Confusions | None:
        if not self.pairs:
            return None
        index = {label: i for i, label in enumerate(labels)}
        index |= {gold: len(index) for gold, _ in self.pairs if gold not in index}
        counts = np.zeros((len(index), len(index)), np.int64)
        for (gold, predicted), n in self.pairs.items():
            counts[index[gold], index[predicted]] = n
        return Confusions(tuple(index), counts)


def _beliefs(scorer: Scorer, seen: _Seen) -> Beliefs | None:
    confidence: Confidence | None = getattr(scorer, "confidence", None)
    if confidence is None and seen.probabilities:
        p = np.asarray(seen.probabilities)
        right = np.asarray(seen.truths, dtype=np.bool_)
        confidence = Confidence(loss=np.zeros_like(p), probability=p, right=right)
    if confidence is None:
        return None
    bins = confidence.reliability()
    return Beliefs(
        believed=np.asarray([one.confidence for one in bins]),
        true=np.asarray([one.accuracy for one in bins]),
        counts=np.asarray([one.count for one in bins]),
    )


def _where(place: Place) -> str:
    """A row's line, or its id in nested files."""
    return f"line {place.line:,}" if place.line else str(place.column or "")


def _by_label(
    task: AnyTask, scorer: Scorer, confusions: Confusions | None
) -> Mapping[str, Mapping[str, float]]:
    if found := task.by_label(scorer):
        thresholds = dict(zip(task.label_names, task.thresholds, strict=False))
        return {
            name: {**values, "threshold": thresholds[name]} if name in thresholds else values
            for name, values in found.items()
        }
    if confusions is None:
        return {}
    counts = confusions.counts
    ids = np.repeat(np.arange(counts.size), counts.ravel())
    gold, predicted = np.divmod(ids, len(counts))
    by_label = Classification(gold, predicted, len(counts)).by_label()
    return {confusions.labels[i]: values for i, values in by_label.items()}


def _learning(record: ModelRecord | None, metric: str, seconds: Sequence[float]) -> Learning:
    history = record.history if record else None
    if record is None or history is None:
        return Learning(metric=metric, seconds=seconds)
    interval = record.dev.intervals.get(metric) if record.dev else None
    return Learning(
        losses=history.losses,
        lrs=history.lrs,
        tokens=history.tokens,
        seconds=seconds,
        evaluations=tuple(
            (one.step, score)
            for one in history.evaluations
            if not math.isnan(score := one.scores.get(metric, math.nan))
        ),
        metric=metric,
        best_step=history.best_step,
        interval=interval if interval and math.isfinite(sum(interval)) else None,
    )
