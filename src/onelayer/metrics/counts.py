"""Counts per class, on which classification, multi-label and entity scores are based."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
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


class ByCounts(ABC):
    """Scores of N rows that depend only on how often each row counts. So those of many resamples
    are found at once, in a small part of the time that they would take one by one."""

    @abstractmethod
    def __len__(self) -> int:
        """The number of rows."""

    @abstractmethod
    def weighted(self, weights: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        """All metrics, each ``(K,)``, over K choices of rows: how often each row is in each of
        them, ``(N, K)``."""

    def __call__(self, rows: ChosenRows | None = None) -> dict[str, float]:
        """All metrics over the chosen rows, which may repeat; over every row if None."""
        with np.errstate(invalid="ignore"):  # of no rows most scores are nan
            found = self.weighted(multiplicity(rows, len(self))[:, None])
        return {name: float(values[0]) for name, values in found.items()}


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
    """Per class, the numbers of right, gold and predicted occurrences: each ``(L,)``, or ``(L, K)``
    for K choices of rows."""

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
        """The sums over all classes, each ``()`` or ``(K,)``, for micro averages."""
        return Counts(*(x.sum(axis=0) for x in (self.right, self.gold, self.predicted)))

    def macro_f1(self) -> NDArray[np.float64]:
        """The mean F1, ``()`` or ``(K,)``, of the classes that occur in gold or predictions; 0 if
        there are none."""
        present = self.gold + self.predicted > 0
        # The F1 of the other classes is 0, so they may be in the sum, but not in the number.
        return _ratio(self.f1.sum(axis=0), present.sum(axis=0).astype(float))

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


class Sums:
    """The sums of M values by group, over any choices of N rows.

    Parameters
    ----------
    rows, groups
        (M,) the row that each value belongs to, and its group.
    n_groups
        The number of groups.
    values
        (M,) the values; by default each is 1.
    """

    def __init__(
        self, rows: Ints, groups: Ints, n_groups: int, values: Floats | None = None
    ) -> None:
        # The values of a group lie side by side, so that whole rows of weights are added.
        order = np.argsort(groups, kind="stable")
        self._rows, self._n_groups = rows[order], n_groups
        self._values = None if values is None else values[order, None]
        self._groups, self._starts = np.unique(groups[order], return_index=True)

    def __call__(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """``(n_groups, K)`` sums over K choices of rows, ``(N, K)``."""
        found = np.zeros((self._n_groups, weights.shape[1]))
        if len(self._rows):
            chosen = weights[self._rows]
            if self._values is not None:
                chosen *= self._values
            found[self._groups] = np.add.reduceat(chosen, self._starts, axis=0)
        return found


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
        counts = self.weighted(multiplicity(rows, self.n_rows)[:, None])
        return Counts(*(x[:, 0] for x in (counts.right, counts.gold, counts.predicted)))

    def weighted(self, weights: NDArray[np.float64]) -> Counts:
        """The counts over K choices of rows: see `ByCounts.weighted`."""
        return Counts(*(sums(weights) for sums in self._sums))

    @cached_property
    def _sums(self) -> tuple[Sums, Sums, Sums]:
        right, gold, predicted = (
            Sums(*occurrences, self.n_classes)
            for occurrences in (self.right, self.gold, self.predicted)
        )
        return right, gold, predicted

    def by_row(self) -> tuple[Ints, Ints, Ints]:
        """The numbers of right, gold and predicted occurrences in each row, each ``(N,)``."""
        right, gold, predicted = (
            np.bincount(where, minlength=self.n_rows)
            for where, _ in (self.right, self.gold, self.predicted)
        )
        return right, gold, predicted
