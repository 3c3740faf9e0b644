"""Learning curves: what a score may be with more rows, from the scores with fewer.

The odds of an error, 1 - score to score, fall as an inverse power of the rows down to a floor. For
small errors that is the usual power law (Cortes et al., 1993; Figueroa et al., 2012). Near chance
it is the S that classifiers show: nothing for long, and then fast. A handful of noisy points
doesn't decide such a curve. So none is fitted: each curve of a grid is weighed by how well it
agrees with the points, and a forecast is a mean, with quantiles, over all of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from onelayer.metrics.bootstrap import Scorer, resamples
from onelayer.metrics.counts import Floats, Ints

FEWEST_POINTS = 3
"""Points without which nothing is said of more rows."""
EXPONENTS = np.linspace(0.1, 2.0, 20)
"""How fast the odds of an error fall."""
FLOORS = np.linspace(0.0, 0.96, 13)
"""The odds that no number of rows removes, as a share of those at the last point."""
STARTS = np.linspace(0.0, 1.0, 5)
"""The score without learning, as a share of the lowest score measured."""
DEVIATIONS = np.linspace(-3.0, 3.0, 31)
"""Scores at the last point, in standard errors from the measured one."""
MISFIT = 0.02
"""How far a curve may be from the truth, for each halving of the rows before the last point, as a
share of the scale. If it grows, small parts count less."""
RESAMPLES = 200
"""Of the scored rows, for the error that all points share. More make it less random."""


@dataclass(frozen=True, slots=True)
class PowerLawForecast:
    """What to expect with a number of rows, and the limits between which it is likely."""

    rows: int
    score: float
    low: float
    high: float
    gain: float
    """How much more than at the reference; its limits are closer, as both share the scored rows."""
    gain_low: float
    gain_high: float


def forecast_scores(
    sizes: Sequence[int],
    scores: Sequence[float],
    covariance: Floats,
    targets: Sequence[int],
    *,
    reference: int,
    perfect: float = 1.0,
    level: float = 0.95,
) -> list[PowerLawForecast]:
    """What to expect with each of ``targets`` rows.

    Parameters
    ----------
    sizes, scores
        The points of the curve, from few rows to many: (P,), at least `FEWEST_POINTS`.
    covariance
        (P, P) of the scores' errors.
    targets
        Numbers of rows.
    reference
        The number of rows from which gains are counted.
    perfect
        The score that can't be exceeded.
    level
        The share of the weight between the limits.
    """
    x = np.asarray(sizes, np.float64) / sizes[-1]
    measured = np.asarray(scores, np.float64) / perfect
    misfit = np.diag((MISFIT * np.log2(x)) ** 2 + 1e-8)
    errors = covariance / perfect**2 + misfit
    top = measured[-1] + DEVIATIONS * np.sqrt(errors[-1, -1])
    curves = _Curves.of(top[top < 1], max(0.0, float(measured.min())))
    off = curves.at(x) - measured
    logs = -0.5 * np.einsum("ci,ij,cj->c", off, np.linalg.inv(errors), off)
    weights = np.exp(logs - logs.max())
    base, *then = curves.at(np.array([reference, *targets], np.float64) / sizes[-1]).T
    found = []
    for n, ahead in zip(targets, then, strict=True):
        low, score, high = (perfect * q for q in _quantiles(ahead, weights, level))
        gain_low, gain, gain_high = (perfect * q for q in _quantiles(ahead - base, weights, level))
        found.append(PowerLawForecast(n, score, low, high, gain, gain_low, gain_high))
    return found


@dataclass(frozen=True, slots=True)
class _Curves:
    """A grid of C curves, each array (C, 1)."""

    exponents: Floats
    floors: Floats
    starts: Floats
    odds: Floats
    """Of an error at the last point."""

    @classmethod
    def of(cls, tops: Floats, lowest: float) -> _Curves:
        """Curves through these scores at the last point, (T,)."""
        axes = np.meshgrid(EXPONENTS, FLOORS, STARTS * lowest, tops, indexing="ij")
        exponents, floors, starts, top = (axis.reshape(-1, 1) for axis in axes)
        above = np.maximum(top - starts, 1e-3)
        return cls(exponents, floors, starts, (1 - starts - above) / above)

    def at(self, x: Floats) -> Floats:
        """The scores at these multiples (n,) of the last size, (C, n)."""
        odds = self.odds * (self.floors + (1 - self.floors) * x**-self.exponents)
        return np.asarray(self.starts + (1 - self.starts) / (1 + odds))


def _quantiles(values: Floats, weights: Floats, level: float) -> tuple[float, float, float]:
    """The weighted quantiles with ``level`` between them, and the mean in the middle."""
    order = np.argsort(values, kind="stable")
    shares = np.cumsum(weights[order]) / weights.sum()
    ends = np.searchsorted(shares, [(1 - level) / 2, (1 + level) / 2])
    low, high = values[order[np.minimum(ends, len(values) - 1)]]
    return float(low), float(np.average(values, weights=weights)), float(high)


def rise_per_doubling(
    sizes: Sequence[int], scores: Sequence[float], covariance: Floats, *, level: float = 0.95
) -> tuple[float, float, float]:
    """How much the score rises with twice the rows, on average over the points, and its interval:
    the slope of a straight line over the logarithm of the rows (generalized least squares)."""
    inverse = np.linalg.inv(covariance + 1e-8 * np.eye(len(sizes)))
    line = np.stack([np.ones(len(sizes)), np.log2(np.asarray(sizes, np.float64))], axis=1)
    of_line = np.linalg.inv(line.T @ inverse @ line)
    slope = float((of_line @ line.T @ inverse @ np.asarray(scores, np.float64))[1])
    half = NormalDist().inv_cdf((1 + level) / 2) * math.sqrt(of_line[1, 1])
    return slope, slope - half, slope + half


def curve_covariance(
    draws: Sequence[Sequence[Scorer]], metric: str, folds: Ints, *, seed: int = 0
) -> Floats:
    """The covariance of the errors of a curve's scores, (P, P).

    All points share the error of having scored these rows, which a bootstrap tells. Each point has
    its own error, from the rows that were drawn to train on and from the seed: how differently the
    folds rank the points tells that. Models of several folds share training rows, for which it is
    enlarged (Nadeau and Bengio, 2003).

    Parameters
    ----------
    draws
        For each draw of the parts the scorers of its P points, all on the same N rows.
    metric
        The score that the curve is about.
    folds
        The fold of each row, (N,).
    seed
        Of the bootstrap.
    """
    every = [scorer for draw in draws for scorer in draw]
    rng = np.random.default_rng(seed)
    groups: Ints | None = getattr(every[0], "groups", None)
    resampled = [
        np.nanmean([scorer(rows)[metric] for scorer in every])
        for rows in resamples(len(folds), groups, RESAMPLES, rng)
    ]
    shared = float(np.nanvar(resampled))
    held_out = [np.flatnonzero(folds == fold) for fold in np.unique(folds)]
    table = np.array(
        [[scorer(rows)[metric] for scorer in draw] for draw in draws for rows in held_out]
    )
    table = table[~np.isnan(table).any(axis=1)]  # a fold of few rows may have no correlation
    units, points = table.shape
    if units < 2:
        return np.full((points, points), shared) + np.eye(points) * shared
    odd = table - table.mean(axis=0) - table.mean(axis=1, keepdims=True) + table.mean()
    each = (odd**2).sum(axis=0) / ((units - 1) * (points - 1) / points)
    own = (each + each.mean()) / 2 * (1 / units + 1 / max(len(held_out) - 1, 1))
    return np.full((points, points), shared) + np.diag(own)
