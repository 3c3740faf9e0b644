"""One label a row, several labels a row, one option a row."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from onelayer.metrics.confidence import Confidence
from onelayer.metrics.counts import (
    Bools,
    ChosenRows,
    Counts,
    Floats,
    Ints,
    Tally,
    marks,
    mean,
    multiplicity,
)


@dataclass(frozen=True, eq=False)
class Classification:
    """``gold`` and ``predicted`` label ids below ``n_labels``, each ``(N,)``.

    Gives accuracy, macro F1 over the classes that gold or the predictions have, Matthews'
    correlation and, where there are two labels, the F1 of ``positive`` (label id 1 unless told
    otherwise); and what ``confidence`` gives for the same rows.
    """

    gold: Ints
    predicted: Ints
    n_labels: int
    positive: int | None = None
    confidence: Confidence | None = None

    def __len__(self) -> int:
        return len(self.gold)

    def __call__(self, rows: ChosenRows | None = None) -> dict[str, float]:
        counts = self._tally(rows)
        scores = {
            "accuracy": float(counts.total().recall[0]),
            "macro_f1": counts.macro_f1(),
            "mcc": _mcc(counts),
        }
        if self.n_labels == 2:
            scores["f1"] = float(counts.f1[1 if self.positive is None else self.positive])
        return scores | ({} if self.confidence is None else self.confidence(rows))

    def mistakes(self) -> Floats:
        return np.asarray(self.gold != self.predicted, dtype=np.float64)

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


def _mcc(counts: Counts) -> float:
    """Matthews' correlation for any number of classes (Gorodkin 2004, R_K); 0 if gold or the
    predictions are all of one class."""
    n = counts.gold.sum()
    agreement = counts.right.sum() * n - counts.gold @ counts.predicted
    spread_gold = n * n - counts.gold @ counts.gold
    spread_predicted = n * n - counts.predicted @ counts.predicted
    if not (spread_gold and spread_predicted):
        return 0.0
    return float(agreement / np.sqrt(spread_gold) / np.sqrt(spread_predicted))


@dataclass(frozen=True, eq=False)
class MultiLabel:
    """``gold`` and ``predicted`` say which of L labels a row has, each ``(N, L)``.

    Gives micro F1, macro F1 over all L labels (0 for one that never occurs), the mean of the
    rows' own F1 (0 for a row without labels that gets none), and the share of rows whose labels
    are all right; scikit-learn's definitions. And what ``confidence`` gives for the same rows.
    """

    gold: Bools
    predicted: Bools
    confidence: Confidence | None = None

    def __len__(self) -> int:
        return len(self.gold)

    def __call__(self, rows: ChosenRows | None = None) -> dict[str, float]:
        counts = self._tally(rows)
        weights = multiplicity(rows, len(self))
        whole, row_f1 = self._per_row
        scores = {
            "micro_f1": float(counts.total().f1[0]),
            "macro_f1": float(counts.f1.mean()),
            "samples_f1": float(weights @ row_f1 / weights.sum()),
            "subset_accuracy": float(weights @ whole / weights.sum()),
        }
        return scores | ({} if self.confidence is None else self.confidence(rows))

    def mistakes(self) -> Floats:
        """Labels too many or too few."""
        return np.asarray((self.gold != self.predicted).sum(axis=1), dtype=np.float64)

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
        """Which rows have all labels right, and each row's F1 over its labels; ``(N,)`` each."""
        sets = (self.gold & self.predicted, self.gold, self.predicted)
        counts = Counts(*(labels.sum(axis=1).astype(float) for labels in sets))
        return (self.gold == self.predicted).all(axis=1), counts.f1


@dataclass(frozen=True, eq=False)
class Choices:
    """``gold`` and ``predicted`` option numbers, each ``(N,)``; rows may differ in how many
    options they have, so accuracy is all there is, beside what ``confidence`` gives. ``groups``
    ``(N,)`` are the contexts' numbers: the bootstrap draws all questions about one together."""

    gold: Ints
    predicted: Ints
    groups: Ints | None = None
    confidence: Confidence | None = None

    def __len__(self) -> int:
        return len(self.gold)

    def __call__(self, rows: ChosenRows | None = None) -> dict[str, float]:
        right = self.gold == self.predicted
        accuracy = {"accuracy": mean(right if rows is None else right[rows])}
        return accuracy | ({} if self.confidence is None else self.confidence(rows))

    def mistakes(self) -> Floats:
        return np.asarray(self.gold != self.predicted, dtype=np.float64)
