"""Confident learning: which labels are probably wrong, by what a model says that never saw them.

Northcutt, Jiang and Chuang 2021, "Confident Learning: Estimating Uncertainty in Dataset Labels".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onelayer.metrics.counts import Bools, Floats, Ints

ROUNDING = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Doubts:
    """Of N labels, each ``(N,)``: which are probably ``wrong``, the ``likely`` label, and the
    ``margin``: the probability of the given label less that of the likeliest other one, each less
    its label's threshold. The lower it is, the surer that the label is wrong."""

    wrong: Bools
    likely: Ints
    margin: NDArray[np.float64]


def confident_errors(p: Floats, given: Ints) -> Doubts:
    """``p`` ``(N, L)`` out-of-sample probabilities of L labels, ``given`` ``(N,)`` the labels.

    A row is confidently of label j where p(j) is no smaller than it is on average among the rows
    given j, and the largest such label. It is wrong where that isn't the given
    label, and the given label isn't the likeliest one either: the off-diagonal of the paper's
    confident joint, which needs no count of errors that would have to be estimated. Thresholds of
    each label's own make up for a model that is sure of some labels and shy of others: of a label
    that it hardly knows, it is no news that another one is likelier.
    """
    n, n_labels = p.shape
    p = p.astype(np.float64)
    row = np.arange(n)
    own = p[row, given]
    counts = np.bincount(given, minlength=n_labels)
    sums = np.bincount(given, own, minlength=n_labels)
    thresholds = np.divide(sums, counts, out=np.full(n_labels, np.inf), where=counts > 0)
    confident = np.where(p >= thresholds - ROUNDING, p, -1.0)
    likely = confident.argmax(axis=1)
    sure = confident[row, likely] >= 0
    above = p - thresholds
    own_above = above[row, given]
    above[row, given] = -np.inf
    return Doubts(
        wrong=sure & (likely != given) & (p.argmax(axis=1) != given),
        likely=likely,
        margin=own_above - above.max(axis=1),
    )


def outliers(residuals: Floats, *, limit: float = 3.5) -> tuple[Bools, NDArray[np.float64]]:
    """Which of N residuals lie far outside the others, and their modified z-scores, ``(N,)`` each:
    the distance from the median in units of what the median distance is for normal noise (Iglewicz
    and Hoaglin 1993, who advise the limit of 3.5)."""
    distance = np.asarray(residuals, np.float64) - np.median(residuals)
    spread = np.median(np.abs(distance)) / 0.6745
    z = np.divide(distance, spread, out=np.zeros_like(distance), where=spread > 0)
    return np.abs(z) > limit, z
