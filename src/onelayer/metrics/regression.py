"""A number a row."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from onelayer.metrics.counts import ChosenRows, Floats, Ints


@dataclass(frozen=True, eq=False)
class Regression:
    """``gold`` and ``predicted`` numbers, each ``(N,)``.

    Gives Pearson's and Spearman's correlation (ties share their average rank), root mean square
    error and mean absolute error. The correlation with a constant is nan, as in scipy.
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

    def mistakes(self) -> Floats:
        """How far each prediction is off."""
        return np.abs(self.predicted.astype(np.float64) - self.gold)

    @cached_property
    def _orders(self) -> tuple[Ints, Ints]:
        """Each value's place among the distinct values: sorted once, not once a resample."""
        return (
            np.unique(self.gold, return_inverse=True)[1],
            np.unique(self.predicted, return_inverse=True)[1],
        )


def _pearson(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    # Constancy is asked of the values themselves: rounding in the mean can leave a constant with
    # a spread just above zero.
    if len(x) < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return float("nan")
    x, y = x - x.mean(), y - y.mean()
    r = x / np.linalg.norm(x) @ (y / np.linalg.norm(y))
    return float(np.clip(r, -1.0, 1.0))


def _average_ranks(order: Ints) -> NDArray[np.float64]:
    """Ranks from 1, ``(N,)``, ties at their average; ``order`` are small integers, such that
    counting replaces sorting."""
    counts = np.bincount(order)
    ranks = np.cumsum(counts) - (counts - 1) / 2
    return np.asarray(ranks[order])
