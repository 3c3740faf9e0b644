"""How far a score may lie from what endless data would give."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from onelayer.metrics.counts import ChosenRows, Floats, Ints


class Measure(Protocol):
    """Scores as a function of row indices. One with ``groups`` ``(N,)`` is resampled by them."""

    def __len__(self) -> int:
        """How many rows there are."""

    def __call__(self, rows: ChosenRows | None = None) -> dict[str, float]:
        """All metrics over the rows chosen, repetitions counted; over every row when None."""


class Scorer(Measure, Protocol):
    """All scores of a task, and what is wrong in each row."""

    def mistakes(self) -> Floats:
        """How much is wrong in each row, ``(N,)``: 0 where nothing is."""


def intervals(
    scorer: Measure, *, n_resamples: int = 1000, seed: int = 0, level: float = 0.95
) -> dict[str, tuple[float, float]]:
    """The percentile bootstrap's interval (Efron 1979) of every metric: low and high end.

    A resample draws as many rows as there are, with repetition; where the scorer has ``groups``
    it draws whole groups, as many as there are. Resamples in which a metric is nan don't count
    for it; if all are, so is its interval.
    """
    groups: Ints | None = getattr(scorer, "groups", None)
    draws = resamples(len(scorer), groups, n_resamples, np.random.default_rng(seed))
    scores = [scorer(rows) for rows in draws]
    return {name: middle(np.array([s[name] for s in scores]), level) for name in scores[0]}


def resamples(
    n_rows: int, groups: Ints | None, n_resamples: int, rng: np.random.Generator
) -> Iterator[ChosenRows]:
    """``n_resamples`` arrays of row indices, ``(N,)`` each, or of whole groups' row indices."""
    if groups is None:
        for _ in range(n_resamples):
            yield rng.integers(n_rows, size=n_rows, dtype=np.intp)
        return
    by_group = np.argsort(groups, kind="stable")
    _, starts, sizes = np.unique(groups[by_group], return_index=True, return_counts=True)
    for _ in range(n_resamples):
        drawn = rng.integers(len(sizes), size=len(sizes))
        lengths = sizes[drawn]
        # Lay the drawn groups end to end: where each begins in by_group less where it begins here.
        shift = starts[drawn] - (np.cumsum(lengths) - lengths)
        yield by_group[np.repeat(shift, lengths) + np.arange(lengths.sum())]


def middle(values: NDArray[np.float64], level: float) -> tuple[float, float]:
    """The quantiles that hold ``level`` of the values between them, nan left out."""
    known = values[~np.isnan(values)]
    if not known.size:
        return float("nan"), float("nan")
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
