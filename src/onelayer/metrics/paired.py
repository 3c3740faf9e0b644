"""Tests whether one model is better than another on the same rows, or just luckier."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from onelayer.metrics.bootstrap import Scorer, middle, resamples, scores_of_draws
from onelayer.metrics.counts import ChosenRows, Ints
from onelayer.metrics.score_limits import UNKNOWN, Limits, share_limits, wider

ROUNDING = 1e-12
"""Differences closer than this count as equal: they may be the same sum in another order."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One metric of models A and B; nan where the metric isn't defined."""

    a: float
    b: float
    difference: float
    """B's metric minus A's."""
    interval: tuple[float, float]
    """The bootstrap interval of the difference."""
    p: float
    """How likely a difference of at least this size is if both models are equally good."""


def paired_differences(
    scorer: Scorer,
    *,
    n_resamples: int = 1000,
    n_permutations: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, Difference]:
    """Compares two models on the same rows, in every metric.

    The interval is the paired percentile bootstrap's (Efron 1979): both models are scored on the
    same draws. Where all draws are equal it is as wide as that number of rows without a change
    allows. p is that of the two-sided permutation test (Fisher 1935; Noreen 1989): it swaps the
    two models' predictions of random rows and counts how often the difference is at least as
    large as the observed one. Each time it computes the metric over all rows, so it works for F1
    or a correlation as well as for accuracy.

    Parameters
    ----------
    scorer
        The scores of 2N rows: row 2i has model A's prediction of row i, and row 2i + 1 model B's.
        If it has ``groups``, whole groups are drawn and swapped.
    n_resamples, n_permutations
        The number of draws of the bootstrap and of the test.
    seed
        Of both.
    level
        The share of the resampled differences inside the interval.
    """
    # Both predictions of a row have the same group, so every second entry is enough.
    doubled: Ints | None = getattr(scorer, "groups", None)
    groups = None if doubled is None else doubled[::2]
    # What is swapped together: a row, or a group of rows.
    every = np.arange(len(scorer) // 2)
    unit = every if groups is None else np.unique(groups, return_inverse=True)[1]
    a, b = scorer(2 * every), scorer(2 * every + 1)

    def gains(draws: Iterable[tuple[ChosenRows, Ints | int]]) -> dict[str, NDArray[np.float64]]:
        """B's scores on the rows of each draw minus A's, ``(K,)``; where the second number of a
        draw is 1, the predictions are swapped."""
        of_both = ((2 * rows + swap, 2 * rows + 1 - swap) for rows, swap in draws)
        found = scores_of_draws(scorer, chain.from_iterable(of_both))
        return {name: values[1::2] - values[0::2] for name, values in found.items()}

    rng = np.random.default_rng(seed)
    drawn = gains((rows, 0) for rows in resamples(len(every), groups, n_resamples, rng))
    swapped = gains(
        (every, rng.integers(2, size=unit.max() + 1)[unit]) for _ in range(n_permutations)
    )
    unseen = _unseen_change(scorer, int(unit.max()) + 1, level)

    def interval(name: str) -> Limits:
        found = middle(drawn[name], level)
        is_point = found[0] == found[1]
        return wider(found, unseen.get(name, UNKNOWN)) if is_point else found

    return {
        name: Difference(
            a=a[name],
            b=b[name],
            difference=b[name] - a[name],
            interval=interval(name),
            p=_p(swapped[name], b[name] - a[name]),
        )
        for name in a
    }


def _unseen_change(scorer: Scorer, n_units: int, level: float) -> dict[str, Limits]:
    """The interval of each difference between models that answer ``n_units`` rows or groups the
    same way: others may be answered otherwise, and a bootstrap of these doesn't know."""
    best: float | None = getattr(scorer, "best", None)
    limits: Callable[..., dict[str, Limits]] | None = getattr(scorer, "limits", None)
    if best is None or limits is None:
        return {}
    most = best * share_limits(0, n_units, level=level)[1]
    return dict.fromkeys(limits(level=level, units=n_units), (-most, most))


def clearly_better(one: Scorer, other: Scorer, metric: str, *, n_resamples: int = 200) -> bool:
    """Whether one scorer's metric is higher than the other's in all but 2.5 % of paired bootstrap
    draws. Both must score the same rows in the same order."""
    of_one, of_other = (
        scores_of_draws(scorer, resamples(len(one), None, n_resamples, np.random.default_rng(0)))[
            metric
        ]
        for scorer in (one, other)
    )
    gains = of_one - of_other
    return bool(np.nanquantile(gains, 0.025) > 0) if not np.isnan(gains).all() else False


def _p(swapped: NDArray[np.float64], seen: float) -> float:
    """(k + 1) / (n + 1), since the observed difference is one of the permutations (Phipson and
    Smyth 2010); k of the n permutations have a difference of at least that size."""
    known = swapped[~np.isnan(swapped)]
    if np.isnan(seen) or not known.size:
        return float("nan")
    as_large = np.count_nonzero(np.abs(known) >= abs(seen) - ROUNDING)
    return (as_large + 1) / (known.size + 1)
