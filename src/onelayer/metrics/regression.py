"""Scores of rows with a number."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from onelayer.metrics.counts import ChosenRows, Floats, Ints
from onelayer.metrics.score_limits import Limits, correlation_limits


@dataclass(frozen=True, eq=False)
class Regression:
    """Pearson's and Spearman's correlation, root mean square error and mean absolute error.

    Ties share their average rank. The correlation with a constant is nan, as in scipy.

    Parameters
    ----------
    gold, predicted
        (N,) numbers.
    """

    gold: Floats
    predicted: Floats

    def __len__(self) -> int:
        return len(self.gold)

    def __call__(self, rows: ChosenRows | None = None) -> dict[str, float]:
        chosen = slice(None) if rows is None else rows
        gold = self.gold[chosen].astype(np.float64)
        predicted = self.predicted[chosen].astype(np.float64)
        gold_order, predicted_order = (order[chosen] for order in self._orders)
        error = predicted - gold
        return {
            "pearson": _pearson(gold, predicted),
            "spearman": _pearson(_average_ranks(gold_order), _average_ranks(predicted_order)),
            "rmse": float(np.sqrt(np.mean(error**2))),
            "mae": float(np.mean(np.abs(error))),
        }

    def limits(self, *, level: float, units: float) -> dict[str, Limits]:
        """The intervals of the correlations; errors have no upper end."""
        scores, n = self(), int(min(units, len(self)))
        return {
            name: correlation_limits(scores[name], n, level=level)
            for name in ("pearson", "spearman")
        }

    def mistakes(self) -> Floats:
        """The absolute error of each prediction, ``(N,)``."""
        return np.abs(self.predicted.astype(np.float64) - self.gold)

    @cached_property
    def _orders(self) -> tuple[Ints, Ints]:
        """Each value's index among the sorted distinct values. Sorting once is enough for all
        resamples."""
        return (
            np.unique(self.gold, return_inverse=True)[1],
            np.unique(self.predicted, return_inverse=True)[1],
        )


def _pearson(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    # A constant is recognised by its values: after subtracting a rounded mean its spread may be
    # slightly above zero.
    if len(x) < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return float("nan")
    x, y = x - x.mean(), y - y.mean()
    r = x / np.linalg.norm(x) @ (y / np.linalg.norm(y))
    return float(np.clip(r, -1.0, 1.0))


def _average_ranks(order: Ints) -> NDArray[np.float64]:
    """Ranks from 1 with ties at their average, ``(N,)``. ``order`` holds small integers, so
    counting replaces sorting."""
    # The last of n equal values has the cumulative count as its rank, and the mean of the n ranks
    # is (n - 1) / 2 below.
    counts = np.bincount(order)
    ranks = np.cumsum(counts) - (counts - 1) / 2
    return np.asarray(ranks[order])
