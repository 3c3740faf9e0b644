"""A text or a pair of texts gets one label, or several."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from onelayer import metrics
from onelayer.errors import DataError, Place
from onelayer.recipe import Recipe
from onelayer.tasks.base import (
    Chunk,
    Logits,
    ids_of,
    in_order,
    in_role,
    label_name,
    listed,
    softmax,
)
from onelayer.tasks.pooling import (
    POOLINGS,
    Pooling,
    best_pooling,
    first_pooling,
    pool,
    pooled_by,
    reading,
)
from onelayer.tasks.texts import TextRow, encode_texts, texts_of
from onelayer.text.encoding import Encodings
from onelayer.text.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class Label:
    """The likeliest label of a text, and the probability of every label."""

    label: str
    probability: float
    probabilities: dict[str, float]


@dataclass(frozen=True, slots=True)
class Labels:
    """Every label whose probability reaches its threshold; possibly none."""

    labels: tuple[str, ...]
    probabilities: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Classify:
    """One label of ``labels``, or with ``multi_label`` those at or above ``threshold``."""

    name: ClassVar[str] = "classify"
    labels: tuple[str, ...]
    max_length: int
    multi_label: bool = False
    threshold: float = 0.5
    stride: int = 0
    pooling: Pooling = "head"
    """How the windows of a long text become one prediction."""
    pooling_scores: Mapping[str, float] = field(default_factory=dict)
    """The dev score of each way of pooling, by which it was chosen; empty without long texts."""

    @property
    def head(self) -> str:
        return "labels" if self.multi_label else "label"

    @property
    def outputs(self) -> tuple[str, ...]:
        return self.labels

    @property
    def metric(self) -> str:
        return "micro_f1" if self.multi_label else "accuracy"

    @property
    def summary(self) -> str:
        kind = "several labels a row" if self.multi_label else "one label a row"
        labels = f"{kind} of {len(self.labels)}: {listed(self.labels)}"
        return f"{labels}; {reading(self.max_length, self.pooling)}"

    @classmethod
    def row(cls, values: Mapping[str, Any], place: Place, labelled: bool) -> TextRow:
        text, pair = texts_of(values, place, labelled)
        return TextRow(text, pair, _label_of(values, place) if labelled else None, place)

    @classmethod
    def check(cls, rows: Iterable[TextRow]) -> Callable[[TextRow], DataError | None] | None:
        missing = _no_label({name for row in rows for name in _names(row)})
        if missing is None:
            return None

        def judge(row: TextRow) -> DataError | None:
            if row.label != missing:
                return None
            hint = "leave such rows out with --skip-bad"
            return DataError(f"label {row.label!r} stands for no label", place=row.place, hint=hint)

        return judge

    @classmethod
    def fit(
        cls, rows: Iterable[TextRow], tokenizer: Tokenizer, recipe: Recipe, limit: int
    ) -> Classify:
        names: set[str] = set()
        several = False
        path: str | Path = ""
        for row in rows:
            several = several or isinstance(row.label, tuple)
            names.update(_names(row))
            path = row.place.path
        multi_label = several if recipe.multi_label is None else recipe.multi_label
        labels = in_order(names)
        if not labels or (len(labels) == 1 and not multi_label):
            only = f"every row has {labels[0]!r}" if labels else "no row has a label"
            raise DataError(
                f"one class only: {only}",
                place=Place(path),
                hint="two or more are needed; does --label name the right column?",
            )
        max_length = recipe.max_length or limit
        return cls(
            labels=labels,
            max_length=max_length,
            multi_label=multi_label,
            stride=min(recipe.stride, max_length // 4),
            pooling=first_pooling(recipe),
        )

    def encode(self, rows: Sequence[TextRow], tokenizer: Tokenizer, labelled: bool) -> Encodings:
        encodings = encode_texts(rows, tokenizer, self.max_length, self.stride, self.pooling)
        if not labelled:
            return encodings
        ids, counts = self._gold(rows)
        targets = self._mask(ids, counts) if self.multi_label else ids
        return replace(encodings, targets=np.repeat(targets, np.diff(encodings.cu_rows), axis=0))

    def _gold(self, rows: Iterable[TextRow]) -> tuple[metrics.Ints, metrics.Ints]:
        """The label ids of all rows, end to end, and how many of them each row has."""
        counts = array("q")

        def named() -> Iterator[tuple[str, Place]]:
            for row in rows:
                names = _names(row)
                counts.append(len(names))
                yield from ((name, row.place) for name in names)

        ids = ids_of(named(), self.labels)
        return np.asarray(ids, dtype=np.int64), np.asarray(counts, dtype=np.int64)

    def _mask(self, ids: metrics.Ints, counts: metrics.Ints) -> metrics.Bools:
        """(N, L) which labels each row has."""
        mask = np.zeros((len(counts), len(self.labels)), dtype=np.bool_)
        mask[np.repeat(np.arange(len(counts)), counts), ids] = True
        return mask

    def decode(
        self, rows: Sequence[TextRow], encodings: Encodings, logits: Logits
    ) -> list[Label] | list[Labels]:
        return self._predictions(pool(encodings, logits, self.pooling))

    def _predictions(self, row_logits: Logits) -> list[Label] | list[Labels]:
        """(B, C) logits -> one prediction a row."""
        if not self.multi_label:
            return [self._label(p) for p in softmax(row_logits).tolist()]
        sigmoid = 1.0 / (1.0 + np.exp(-np.asarray(row_logits, dtype=np.float64)))
        return [self._labels(p) for p in sigmoid.tolist()]

    def _label(self, p: list[float]) -> Label:
        probabilities = dict(zip(self.labels, p, strict=True))
        best = max(probabilities, key=probabilities.__getitem__)
        return Label(best, probabilities[best], probabilities)

    def _labels(self, p: list[float]) -> Labels:
        probabilities = dict(zip(self.labels, p, strict=True))
        chosen = tuple(name for name, q in probabilities.items() if q >= self.threshold)
        return Labels(chosen, probabilities)

    def score(
        self, rows: Iterable[TextRow], predictions: Iterable[Label] | Iterable[Labels]
    ) -> metrics.Scorer:
        ids, counts = self._gold(rows)
        index = {label: i for i, label in enumerate(self.labels)}
        if not self.multi_label:
            predicted = (index[p.label] for p in predictions if isinstance(p, Label))
            return metrics.Classification(
                ids,
                np.fromiter(predicted, dtype=np.int64),
                len(self.labels),
                positive=_positive(self.labels),
            )
        gold = self._mask(ids, counts)
        mask = np.zeros_like(gold)
        for i, prediction in enumerate(predictions):
            if isinstance(prediction, Labels):
                mask[i, [index[name] for name in prediction.labels]] = True
        return metrics.MultiLabel(gold, mask)

    def tune(
        self, rows: Iterable[TextRow], chunks: Iterable[Chunk]
    ) -> tuple[Classify, metrics.Scorer]:
        """With the pooling that gives the best score on these rows."""

        def score(row_logits: Logits) -> metrics.Scorer:
            return self.score(rows, self._predictions(row_logits))

        ways = dict.fromkeys((self.pooling, *POOLINGS))
        pooling, scores, scorer = best_pooling(pooled_by(chunks, ways), score, self.metric)
        return replace(self, pooling=pooling, pooling_scores=scores), scorer

    @classmethod
    def texts(cls, row: TextRow) -> tuple[str, ...]:
        return (row.text,) if row.pair is None else (row.text, row.pair)

    @classmethod
    def group(cls, row: TextRow) -> str | None:
        return None

    @classmethod
    def stratum(cls, row: TextRow) -> str | None:
        return "\0".join(_names(row))


def _positive(labels: Sequence[str]) -> int | None:
    """The class that a binary F1 is about: the second one, as GLUE counts."""
    return 1 if len(labels) == 2 else None


def _names(row: TextRow) -> tuple[str, ...]:
    if isinstance(row.label, tuple):
        return row.label
    return () if row.label is None else (str(row.label),)


def _label_of(values: Mapping[str, Any], place: Place) -> str | tuple[str, ...]:
    value = values.get("label")
    if isinstance(value, (list, tuple)):
        return tuple(dict.fromkeys(label_name(item) for item in value))
    if value is None or value != value or label_name(value) == "":
        hint = "leave such rows out with --skip-bad"
        raise DataError("no label", place=in_role(place, "label"), hint=hint)
    if isinstance(value, dict):
        hint = "give a name, or a list of names"
        raise DataError("label is an object", place=in_role(place, "label"), hint=hint)
    return label_name(value)


def _no_label(names: Set[str]) -> str | None:
    """How public sets write that a row has no label: SNLI and OCNLI ``-``, where annotators did not
    agree, and their copies on the Hub ``-1`` before three or more classes that count from 0."""
    if "-" in names and len(names) > 2 and all(len(name) > 1 for name in names - {"-"}):
        return "-"
    counted = {str(i) for i in range(len(names) - 1)}
    return "-1" if len(counted) > 2 and names == counted | {"-1"} else None
