"""Bootstrap intervals: how far a score may be from the one on unlimited data."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from onelayer.metrics.counts import ByCounts, ChosenRows, Floats, Ints, multiplicity
from onelayer.metrics.score_limits import UNKNOWN, Limits, wider

MOST_WEIGHTS = 1 << 15
"""Numbers in the weights of resamples that are scored at once. More would leave the cache, and then
one resample at a time is faster."""


class Measure(Protocol):
    """Scores as a function of row indices. With ``groups`` ``(N,)``, whole groups are resampled."""

    def __len__(self) -> int:
        """The number of rows."""

    def __call__(self, rows: ChosenRows | None = None) -> dict[str, float]:
        """All metrics over the chosen rows, which may repeat; over every row if None."""


class Scorer(Measure, Protocol):
    """All scores of a task, and how wrong each row is."""

    def mistakes(self) -> Floats:
        """How wrong each row is, ``(N,)``: 0 where nothing is."""


def intervals(
    scorer: Measure, *, n_resamples: int = 1000, seed: int = 0, level: float = 0.95
) -> dict[str, tuple[float, float]]:
    """The percentile bootstrap interval of every metric (Efron 1979), and where a metric is a share
    or made of shares, at least as wide as `score_limits` says: a bootstrap of rows that are all
    right knows no other.

    A resample draws as many rows as there are, with replacement; if the scorer has ``groups``, it
    draws as many whole groups as there are. Resamples in which a metric is nan don't count for that
    metric; if all are nan, so is the interval. A single row or group has no interval but that.

    Parameters
    ----------
    scorer
        The scores of N rows.
    n_resamples
        More resamples make the ends less random; the time grows with them.
    seed
        Of the random draws.
    level
        The share of the resampled scores inside the interval.

    Returns
    -------
    dict
        (low, high) by metric.
    """
    groups: Ints | None = getattr(scorer, "groups", None)
    draws = resamples(len(scorer), groups, n_resamples, np.random.default_rng(seed))
    found = {name: middle(values, level) for name, values in scores_of_draws(scorer, draws).items()}
    n_units = len(scorer) if groups is None else len(np.unique(groups))
    return _widened(found, scorer, n_units, level)


def scores_of_draws(scorer: Measure, draws: Iterable[ChosenRows]) -> dict[str, NDArray[np.float64]]:
    """Each metric over each draw of rows, ``(K,)``; many draws at once where the scorer can."""
    if isinstance(scorer, ByCounts):
        n, left = len(scorer), iter(draws)
        at_once = max(1, MOST_WEIGHTS // max(1, n))
        parts = []
        while some := [multiplicity(rows, n) for rows in islice(left, at_once)]:
            parts.append(scorer.weighted(np.stack(some, axis=1)))
    else:
        parts = [{name: np.array([x]) for name, x in scorer(rows).items()} for rows in draws]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _widened(
    found: dict[str, Limits], scorer: Measure, n_units: int, level: float
) -> dict[str, Limits]:
    """The intervals with the scorer's own limits, if it has any. Where a bootstrap found a point,
    the rows of a group, and the parts of a row, count as one."""
    limits: Callable[..., dict[str, Limits]] | None = getattr(scorer, "limits", None)
    own = limits(level=level, units=math.inf) if limits else {}
    by_unit = limits(level=level, units=n_units) if limits else {}
    for name, interval in found.items():
        is_point = interval[0] == interval[1]
        if name in own:
            found[name] = wider(interval, (by_unit if is_point else own)[name])
        elif is_point and n_units == 1:
            found[name] = UNKNOWN
    return found


def resamples(
    n_rows: int, groups: Ints | None, n_resamples: int, rng: np.random.Generator
) -> Iterator[ChosenRows]:
    """Draws ``n_resamples`` arrays of row indices with replacement: ``(N,)`` rows each, or, with
    ``groups`` ``(N,)``, all rows of as many groups as there are."""
    if groups is None:
        for _ in range(n_resamples):
            yield rng.integers(n_rows, size=n_rows, dtype=np.intp)
        return
    # Rows sorted by group, so that a group is a run of by_group with a start and a size.
    by_group = np.argsort(groups, kind="stable")
    _, starts, sizes = np.unique(groups[by_group], return_index=True, return_counts=True)
    for _ in range(n_resamples):
        drawn = rng.integers(len(sizes), size=len(sizes))
        lengths = sizes[drawn]
        # The drawn groups end to end: a group's start in by_group minus its start in the sample.
        shift = starts[drawn] - (np.cumsum(lengths) - lengths)
        yield by_group[np.repeat(shift, lengths) + np.arange(lengths.sum())]


def middle(values: NDArray[np.float64], level: float) -> tuple[float, float]:
    """The two quantiles with the share ``level`` of the values between them; nan is left out."""
    known = values[~np.isnan(values)]
    if not known.size:
        return float("nan"), float("nan")
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
