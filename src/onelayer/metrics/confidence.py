"""How far a model's probabilities can be trusted."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelayer.metrics.counts import Bools, ChosenRows, Floats, Ints, multiplicity

BINS = 15
"""Of equal width from 0 to 1, as in Guo et al. 2017."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Confidence:
    """``loss`` ``(N,)`` is what each row adds to the log loss, in nats. ``probability`` says how
    likely the model held it that what it said is ``right``: the likeliest label of each row,
    ``(N,)``, or each label of each row by itself, ``(N, L)``.

    Gives the log loss and the expected calibration error (Guo et al. 2017, arXiv:1706.04599): by
    how much probability and share of right ones differ in a bin, averaged over what is in the bins.
    Chance alone puts the error above 0, the more so the fewer rows there are.

    Where sets were asked for, ``covered`` says which hold all that is gold and ``set_size`` how
    many labels each has; where rows may go without an answer, ``answered`` says which don't. They
    add the shares of rows covered and answered, the sets' mean size, and the share of wrong ones
    among the answers, nan where there is none.
    """

    loss: Floats
    probability: Floats
    right: Bools
    covered: Bools | None = None
    set_size: Ints | None = None
    answered: Bools | None = None

    def __len__(self) -> int:
        return len(self.loss)

    def __call__(self, rows: ChosenRows | None = None) -> dict[str, float]:
        weights = multiplicity(rows, len(self))
        total = weights.sum()
        where, bins, gaps = self._gaps
        by_bin = np.bincount(bins, weights[where] * gaps, minlength=BINS)
        scores = {
            "log_loss": float(weights @ self.loss / total),
            "ece": float(np.abs(by_bin).sum() / total / self._each),
        }
        if self.covered is not None and self.set_size is not None:
            scores["coverage"] = float(weights @ self.covered / total)
            scores["set_size"] = float(weights @ self.set_size / total)
        if self.answered is not None:
            answers = weights @ self.answered
            wrong = weights @ (self.answered & ~self.right)
            scores["answered"] = float(answers / total)
            scores["error"] = float(wrong / answers) if answers else float("nan")
        return scores

    def reliability(self) -> list[dict[str, Any]]:
        """The reliability diagram's bins that hold something, by rising probability: ``low`` and
        ``high`` end, how many are in it (``count``), their mean probability (``confidence``) and
        the share of them that is right (``accuracy``)."""
        bins = self._bins.ravel()
        counts = np.bincount(bins, minlength=BINS)
        expected = np.bincount(bins, self.probability.ravel(), minlength=BINS)
        right = np.bincount(bins, self.right.ravel(), minlength=BINS)
        return [
            {
                "low": i / BINS,
                "high": (i + 1) / BINS,
                "count": int(counts[i]),
                "confidence": float(expected[i] / counts[i]),
                "accuracy": float(right[i] / counts[i]),
            }
            for i in np.flatnonzero(counts).tolist()
        ]

    @property
    def _each(self) -> int:
        """How many probabilities a row has."""
        return self.probability.shape[1] if self.probability.ndim == 2 else 1

    @property
    def _bins(self) -> Ints:
        """The bin of every probability, each bin without its low end but the first one."""
        return np.clip(np.ceil(self.probability * BINS).astype(np.int64) - 1, 0, BINS - 1)

    @cached_property
    def _gaps(self) -> tuple[Ints, Ints, NDArray[np.float64]]:
        """By how much a row's probabilities in a bin exceed what was right there, summed; the row,
        the bin and the sum, ``(M,)`` each. With many labels most of a row's share a bin."""
        row = np.repeat(np.arange(len(self)), self._each)
        cells, cell = np.unique(row * BINS + self._bins.ravel(), return_inverse=True)
        gaps = np.bincount(cell, self.probability.ravel() - self.right.ravel())
        return cells // BINS, cells % BINS, np.asarray(gaps, dtype=np.float64)
