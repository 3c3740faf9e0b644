"""Confident learning: finds labels that are probably wrong by the predictions of a model that never
saw them.

Northcutt, Jiang and Chuang 2021, "Confident Learning: Estimating Uncertainty in Dataset Labels".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onelayer.metrics.counts import Bools, Floats, Ints

ROUNDING = 1e-6
"""A probability this little below its threshold reaches it: the mean of equal probabilities may be
rounded up."""


@dataclass(frozen=True, slots=True, eq=False)
class Doubts:
    """How doubtful N labels are, each array ``(N,)``."""

    wrong: Bools
    """Whether the label is probably wrong."""
    likely: Ints
    """The label that is more likely."""
    margin: NDArray[np.float64]
    """By how much the given label's probability exceeds its threshold, minus the same for the best
    other label. The lower, the surer that the label is wrong."""


def confident_errors(p: Floats, given: Ints) -> Doubts:
    """Finds probable label errors: the off-diagonal entries of the paper's confident joint.

    The threshold of label j is the mean p(j) of the rows that are given j. A row's confident label
    is the most probable one that reaches its threshold. The given label is doubted if the confident
    one is another and the given one isn't the most probable either. Thresholds per label make up
    for a model that is sure of some labels and unsure of others.

    Parameters
    ----------
    p
        (N, L) out-of-sample probabilities of L labels.
    given
        (N,) the labels that the rows have.
    """
    n, n_labels = p.shape
    p = p.astype(np.float64)
    row = np.arange(n)
    own = p[row, given]
    counts = np.bincount(given, minlength=n_labels)
    sums = np.bincount(given, own, minlength=n_labels)
    # A label that no row has gets an infinite threshold, so no row is confidently of it.
    thresholds = np.divide(sums, counts, out=np.full(n_labels, np.inf), where=counts > 0)
    confident = np.where(p >= thresholds - ROUNDING, p, -1.0)
    likely = confident.argmax(axis=1)
    sure = confident[row, likely] >= 0
    # The margin compares the given label with the best other one, so its own entry is taken out.
    above = p - thresholds
    own_above = above[row, given]
    above[row, given] = -np.inf
    return Doubts(
        wrong=sure & (likely != given) & (p.argmax(axis=1) != given),
        likely=likely,
        margin=own_above - above.max(axis=1),
    )


def outliers(residuals: Floats, *, limit: float = 3.5) -> tuple[Bools, NDArray[np.float64]]:
    """Finds outliers by their modified z-scores (Iglewicz and Hoaglin 1993).

    Parameters
    ----------
    residuals
        (N,) predicted minus gold numbers.
    limit
        The absolute z-score of an outlier; the authors advise 3.5.

    Returns
    -------
    outlier, z
        (N,) each. All z are 0 if more than half of the residuals are equal.
    """
    # The median distance of normal noise is 0.6745 standard deviations.
    distance = np.asarray(residuals, np.float64) - np.median(residuals)
    spread = np.median(np.abs(distance)) / 0.6745
    z = np.divide(distance, spread, out=np.zeros_like(distance), where=spread > 0)
    return np.abs(z) > limit, z
