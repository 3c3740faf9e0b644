"""Scores of a model's probabilities: log loss, calibration error, coverage."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from onelayer.metrics.counts import Bools, ByCounts, Floats, Ints, Sums
from onelayer.metrics.score_limits import Limits, share_limits

BINS = 15
"""Bins of the calibration error, of equal width from 0 to 1, as in Guo et al. 2017."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReliabilityBin:
    """The probabilities from ``low`` to ``high``, and how often the answers are right."""

    low: float
    high: float
    count: int
    """The number of probabilities."""
    confidence: float
    """Their mean."""
    accuracy: float
    """The share of right answers."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Confidence(ByCounts):
    """The log loss and the expected calibration error of N rows (ECE; Guo et al. 2017,
    arXiv:1706.04599), and how well sets and abstention keep their promise.

    The ECE is the mean, over all probabilities, of the difference between mean probability and
    accuracy in their bin. Chance alone puts it above 0, and more so with fewer rows.

    Parameters
    ----------
    loss
        (N,) each row's part of the log loss, in nats.
    probability
        The predicted probability that an answer is right: (N,) for the likeliest label of each
        row, or (N, L) for each label by itself.
    right
        Whether that answer is right, in the same shape.
    covered, set_size
        (N,) whether a row's set of labels holds all gold ones, and its number of labels. They add
        ``coverage`` and the mean ``set_size``.
    answered
        (N,) whether the model gave an answer. It adds the share ``answered`` and the share
        ``error`` of wrong ones among the answers, nan if there are none.
    """

    loss: Floats
    probability: Floats
    right: Bools
    covered: Bools | None = None
    set_size: Ints | None = None
    answered: Bools | None = None

    def __len__(self) -> int:
        return len(self.loss)

    def weighted(self, weights: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        total = weights.sum(axis=0)
        # A bin's gap is |sum of (probability - right)|: the weights can repeat rows without going
        # through the single probabilities again.
        by_bin = self._gaps(weights)
        scores = {
            "log_loss": self.loss @ weights / total,
            "ece": np.abs(by_bin).sum(axis=0) / total / self._each,
        }
        if self.covered is not None and self.set_size is not None:
            scores["coverage"] = self.covered @ weights / total
            scores["set_size"] = self.set_size @ weights / total
        if self.answered is not None:
            answers = self.answered @ weights
            wrong = (self.answered & ~self.right) @ weights
            scores["answered"] = answers / total
            unknown = np.full(len(answers), np.nan)
            scores["error"] = np.divide(wrong, answers, out=unknown, where=answers > 0)
        return scores

    def limits(self, *, level: float, units: float) -> dict[str, Limits]:
        """The intervals of the shares among its scores, if ``units`` rows are independent."""
        found = {}
        if self.covered is not None:
            covered = float(self.covered.sum())
            found["coverage"] = share_limits(covered, len(self), level=level, units=units)
        if self.answered is not None:
            n = float(self.answered.sum())
            wrong = float((self.answered & ~self.right).sum())
            found["answered"] = share_limits(n, len(self), level=level, units=units)
            found["error"] = share_limits(wrong, n, level=level, units=units)
        return found

    def reliability(self) -> list[ReliabilityBin]:
        """The bins of a reliability diagram, by rising probability, without empty ones."""
        bins = self._bins.ravel()
        counts = np.bincount(bins, minlength=BINS)
        expected = np.bincount(bins, self.probability.ravel(), minlength=BINS)
        right = np.bincount(bins, self.right.ravel(), minlength=BINS)
        return [
            ReliabilityBin(
                low=i / BINS,
                high=(i + 1) / BINS,
                count=int(counts[i]),
                confidence=float(expected[i] / counts[i]),
                accuracy=float(right[i] / counts[i]),
            )
            for i in np.flatnonzero(counts).tolist()
        ]

    @property
    def _each(self) -> int:
        """The number of probabilities per row."""
        return self.probability.shape[1] if self.probability.ndim == 2 else 1

    @property
    def _bins(self) -> Ints:
        """The bin of every probability. A bin has its high end but not its low one; only the first
        has both."""
        return np.clip(np.ceil(self.probability * BINS).astype(np.int64) - 1, 0, BINS - 1)

    @cached_property
    def _gaps(self) -> Sums:
        """The sums of (probability - right) by bin. A row has one value in each of its bins: there
        are few, because most of a row's labels are in the lowest bin."""
        row = np.repeat(np.arange(len(self)), self._each)
        cells, cell = np.unique(row * BINS + self._bins.ravel(), return_inverse=True)
        gaps = np.bincount(cell, self.probability.ravel() - self.right.ravel())
        return Sums(cells // BINS, cells % BINS, BINS, np.asarray(gaps, dtype=np.float64))
