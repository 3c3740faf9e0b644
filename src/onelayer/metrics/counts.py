"""Counts per class, on which classification, multi-label and entity scores are based."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from onelayer.metrics.score_limits import Limits, f1_limits, mean_limits, share_limits

ChosenRows: TypeAlias = NDArray[np.intp]
Ints: TypeAlias = NDArray[np.integer[Any]]
Floats: TypeAlias = NDArray[np.floating[Any]]
Bools: TypeAlias = NDArray[np.bool_]

Marks: TypeAlias = tuple[Ints, Ints]
"""M occurrences of classes: their rows ``(M,)`` and their classes ``(M,)``."""

Key = TypeVar("Key")


def multiplicity(rows: ChosenRows | None, n_rows: int) -> NDArray[np.float64]:
    """How often each of N rows is chosen, ``(N,)``; once each if ``rows`` is None."""
    return np.ones(n_rows) if rows is None else np.bincount(rows, minlength=n_rows).astype(float)


def marks(table: Bools) -> Marks:
    """The occurrences in an ``(N, L)`` table of rows and classes."""
    rows, classes = np.nonzero(table)
    return rows, classes


def mean(values: Floats | Bools) -> float:
    """The mean; nan, without numpy's warning, of no values."""
    return float(values.mean(dtype=np.float64)) if values.size else float("nan")


def _ratio(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    """``part / whole``; 0 where ``whole`` is 0, as in scikit-learn."""
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


@dataclass(frozen=True, eq=False)
class Counts:
    """Per class, each ``(L,)``: the numbers of right, gold and predicted occurrences."""

    right: NDArray[np.float64]
    gold: NDArray[np.float64]
    predicted: NDArray[np.float64]

    @property
    def precision(self) -> NDArray[np.float64]:
        return _ratio(self.right, self.predicted)

    @property
    def recall(self) -> NDArray[np.float64]:
        return _ratio(self.right, self.gold)

    @property
    def f1(self) -> NDArray[np.float64]:
        return _ratio(2 * self.right, self.gold + self.predicted)

    def total(self) -> Counts:
        """The sums over all classes, each ``(1,)``, for micro averages."""
        return Counts(*(x.sum(keepdims=True) for x in (self.right, self.gold, self.predicted)))

    def macro_f1(self) -> float:
        """The mean F1 of the classes that occur in gold or predictions; 0 if there are none."""
        present = self.gold + self.predicted > 0
        return float(self.f1[present].mean()) if present.any() else 0.0

    def micro_limits(self, *, level: float, units: float) -> dict[str, Limits]:
        """The intervals of precision, recall and F1 over all classes."""
        right, gold, predicted = (float(x.sum()) for x in (self.right, self.gold, self.predicted))
        return {
            "precision": share_limits(right, predicted, level=level, units=units),
            "recall": share_limits(right, gold, level=level, units=units),
            "f1": f1_limits(right, gold, predicted, level=level, units=units),
        }

    def macro_limits(self, *, level: float, units: float, absent: bool = False) -> Limits:
        """The interval of the mean F1 of the classes that occur, or with ``absent`` of all."""
        chosen = (self.gold + self.predicted > 0) | absent
        classes = zip(self.right[chosen], self.gold[chosen], self.predicted[chosen], strict=True)
        limits = [f1_limits(*map(float, one), level=level, units=units) for one in classes]
        return mean_limits(self.f1[chosen].tolist(), limits)

    def table(self, keys: Iterable[Key]) -> dict[Key, dict[str, float]]:
        """Precision, recall, F1 and support (gold occurrences) of each class, by its key."""
        columns = zip(keys, self.precision, self.recall, self.f1, self.gold, strict=True)
        return {
            key: {"precision": float(p), "recall": float(r), "f1": float(f), "support": int(n)}
            for key, p, r, f, n in columns
        }


@dataclass(frozen=True, eq=False, kw_only=True)
class Tally:
    """Counts per class over any choice of rows. The time grows with the number of occurrences and
    not with rows x classes: a bootstrap over many classes needs that."""

    n_rows: int
    n_classes: int
    right: Marks
    gold: Marks
    predicted: Marks

    def __call__(self, rows: ChosenRows | None = None) -> Counts:
        weights = multiplicity(rows, self.n_rows)

        def per_class(occurrences: Marks) -> NDArray[np.float64]:
            where, classes = occurrences
            counts = np.bincount(classes, weights[where], minlength=self.n_classes)
            return np.asarray(counts, dtype=np.float64)

        return Counts(per_class(self.right), per_class(self.gold), per_class(self.predicted))

    def by_row(self) -> tuple[Ints, Ints, Ints]:
        """The numbers of right, gold and predicted occurrences in each row, each ``(N,)``."""
        right, gold, predicted = (
            np.bincount(where, minlength=self.n_rows)
            for where, _ in (self.right, self.gold, self.predicted)
        )
        return right, gold, predicted
