"""Scores of rows with one label, with several labels, and with one right option."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from onelayer.metrics.confidence import Confidence
from onelayer.metrics.counts import (
    Bools,
    ByCounts,
    ChosenRows,
    Counts,
    Floats,
    Ints,
    Tally,
    marks,
)
from onelayer.metrics.score_limits import UNKNOWN, Limits, f1_limits, share_limits


@dataclass(frozen=True, eq=False)
class Classification(ByCounts):
    """Scores of N rows with one label each: accuracy, macro F1, Matthews' correlation, and for two
    labels the F1 of the positive one.

    Macro F1 averages over the classes that occur in the gold labels or the predictions, as in
    scikit-learn.

    Parameters
    ----------
    gold, predicted
        (N,) label ids, below ``n_labels``.
    n_labels
        The number of labels that the model knows.
    positive
        The positive label's id; by default 1.
    confidence
        Scores of the same rows' probabilities, to be included.
    """

    gold: Ints
    predicted: Ints
    n_labels: int
    positive: int | None = None
    confidence: Confidence | None = None

    best: ClassVar[float] = 1.0
    """The best score of those in ``limits``."""

    def __len__(self) -> int:
        return len(self.gold)

    def weighted(self, weights: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        counts = self._tally.weighted(weights)
        scores = {
            "accuracy": counts.total().recall,
            "macro_f1": counts.macro_f1(),
            "mcc": _mcc(counts),
        }
        if self.n_labels == 2:
            scores["f1"] = counts.f1[1 if self.positive is None else self.positive]
        return scores | ({} if self.confidence is None else self.confidence.weighted(weights))

    def mistakes(self) -> Floats:
        """1 for each wrong row, ``(N,)``."""
        return np.asarray(self.gold != self.predicted, dtype=np.float64)

    def limits(self, *, level: float, units: float) -> dict[str, Limits]:
        """The intervals of the metrics made of shares, if ``units`` rows are independent."""
        counts = self._tally()
        n, right = float(len(self)), float(counts.right.sum())
        accuracy = share_limits(right, n, level=level, units=units)
        found = {
            "accuracy": accuracy,
            "macro_f1": counts.macro_limits(level=level, units=units),
            "mcc": _mcc_limits(counts, accuracy),
        }
        if self.n_labels == 2:
            one = 1 if self.positive is None else self.positive
            of = (float(x[one]) for x in (counts.right, counts.gold, counts.predicted))
            found["f1"] = f1_limits(*of, level=level, units=units)
        own = {} if self.confidence is None else self.confidence.limits(level=level, units=units)
        return found | own

    def by_label(self, rows: ChosenRows | None = None) -> dict[int, dict[str, float]]:
        """Precision, recall, F1 and support of every label id."""
        return self._tally(rows).table(range(self.n_labels))

    @cached_property
    def _tally(self) -> Tally:
        row = np.arange(len(self))
        right = np.flatnonzero(self.gold == self.predicted)
        return Tally(
            n_rows=len(self),
            n_classes=self.n_labels,
            right=(right, self.gold[right]),
            gold=(row, self.gold),
            predicted=(row, self.predicted),
        )


def _mcc(counts: Counts) -> NDArray[np.float64]:
    """Matthews' correlation for any number of classes (Gorodkin 2004, R_K), ``(K,)``; 0 if all gold
    labels or all predictions are the same."""
    # With totals instead of rates: (n * right - gold . predicted), normalised by both spreads.
    gold, predicted, n = counts.gold, counts.predicted, counts.gold.sum(axis=0)
    agreement = counts.right.sum(axis=0) * n - (gold * predicted).sum(axis=0)
    spread = np.sqrt(n * n - (gold * gold).sum(axis=0))
    spread *= np.sqrt(n * n - (predicted * predicted).sum(axis=0))
    none = np.zeros(len(spread))
    found: NDArray[np.float64] = np.divide(agreement, spread, out=none, where=spread > 0)
    return found


def _mcc_limits(counts: Counts, accuracy: Limits) -> Limits:
    """The limits of the accuracy, as their share of what chance leaves (Cohen 1960), which equals
    Matthews' correlation where gold labels and predictions have the same frequencies."""
    shares = counts.gold / counts.gold.sum()
    by_chance = float(shares @ shares)
    if by_chance == 1.0:
        return UNKNOWN
    low, high = ((share - by_chance) / (1 - by_chance) for share in accuracy)
    return max(-1.0, low), min(1.0, high)


@dataclass(frozen=True, eq=False)
class MultiLabel(ByCounts):
    """Scores of N rows with several labels each, as scikit-learn defines them: micro F1, macro F1,
    the mean F1 of the rows, and the share of rows whose labels are all right.

    Macro F1 averages over all L labels, with 0 for a label that never occurs. A row without labels
    for which none are predicted has an F1 of 0.

    Parameters
    ----------
    gold, predicted
        (N, L) whether a row has a label.
    confidence
        Scores of the same rows' probabilities, to be included.
    """

    gold: Bools
    predicted: Bools
    confidence: Confidence | None = None
    cross_fitted: float | None = None
    """The task's metric, if what was tuned on these rows is tuned on others of them instead; None
    where nothing was."""

    best: ClassVar[float] = 1.0
    """The best score of those in ``limits``."""

    def __len__(self) -> int:
        return len(self.gold)

    def weighted(self, weights: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        counts, total = self._tally.weighted(weights), weights.sum(axis=0)
        whole, row_f1 = self._per_row
        scores = {
            "micro_f1": counts.total().f1,
            "macro_f1": counts.f1.mean(axis=0),
            "samples_f1": row_f1 @ weights / total,
            "subset_accuracy": whole @ weights / total,
        }
        return scores | ({} if self.confidence is None else self.confidence.weighted(weights))

    def mistakes(self) -> Floats:
        """The number of labels that are missing or wrong in each row, ``(N,)``."""
        return np.asarray((self.gold != self.predicted).sum(axis=1), dtype=np.float64)

    def limits(self, *, level: float, units: float) -> dict[str, Limits]:
        """The intervals of the metrics made of shares, if ``units`` rows are independent."""
        counts = self._tally()
        whole, row_f1 = self._per_row
        n, f1, squares = len(self), float(row_f1.sum()), float(row_f1 @ row_f1)
        found = {
            "micro_f1": counts.micro_limits(level=level, units=units)["f1"],
            "macro_f1": counts.macro_limits(level=level, units=units, absent=True),
            "samples_f1": share_limits(f1, n, level=level, units=units, squares=squares),
            "subset_accuracy": share_limits(float(whole.sum()), n, level=level, units=units),
        }
        own = {} if self.confidence is None else self.confidence.limits(level=level, units=units)
        return found | own

    def by_label(self, rows: ChosenRows | None = None) -> dict[int, dict[str, float]]:
        """Precision, recall, F1 and support of every label id."""
        return self._tally(rows).table(range(self.gold.shape[1]))

    @cached_property
    def _tally(self) -> Tally:
        return Tally(
            n_rows=len(self),
            n_classes=self.gold.shape[1],
            right=marks(self.gold & self.predicted),
            gold=marks(self.gold),
            predicted=marks(self.predicted),
        )

    @cached_property
    def _per_row(self) -> tuple[Bools, NDArray[np.float64]]:
        """Which rows have all labels right, and each row's F1 over its labels; each ``(N,)``."""
        # The same counts as per class, but with a row in the place of a class.
        sets = (self.gold & self.predicted, self.gold, self.predicted)
        counts = Counts(*(labels.sum(axis=1).astype(float) for labels in sets))
        return (self.gold == self.predicted).all(axis=1), counts.f1


@dataclass(frozen=True, eq=False)
class Choices(ByCounts):
    """The accuracy of N rows with one right option each. Rows may have different numbers of
    options, so there are no scores per class.

    Parameters
    ----------
    gold, predicted
        (N,) option numbers.
    groups
        (N,) the number of each row's context: the bootstrap draws all questions about one context
        together.
    confidence
        Scores of the same rows' probabilities, to be included.
    """

    gold: Ints
    predicted: Ints
    groups: Ints | None = None
    confidence: Confidence | None = None

    best: ClassVar[float] = 1.0
    """The best score of those in ``limits``."""

    def __len__(self) -> int:
        return len(self.gold)

    def weighted(self, weights: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        accuracy = (self.gold == self.predicted) @ weights / weights.sum(axis=0)
        own = {} if self.confidence is None else self.confidence.weighted(weights)
        return {"accuracy": accuracy} | own

    def limits(self, *, level: float, units: float) -> dict[str, Limits]:
        """The interval of the accuracy, if ``units`` rows are independent."""
        right = float((self.gold == self.predicted).sum())
        return {"accuracy": share_limits(right, len(self), level=level, units=units)}

    def mistakes(self) -> Floats:
        """1 for each wrong row, ``(N,)``."""
        return np.asarray(self.gold != self.predicted, dtype=np.float64)
