"""Is one model better than another on the same rows, or was it luck which rows were asked?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onelayer.metrics.bootstrap import Scorer, middle, resamples
from onelayer.metrics.counts import ChosenRows, Ints

ROUNDING = 1e-12
"""Differences this close are one difference, summed in another order."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One metric of models A and B: ``difference`` is B's less A's, with the interval that holds
    ``level`` of the bootstrap's, and ``p`` how likely one so large is among models that are equally
    good. nan where the metric is not defined."""

    a: float
    b: float
    difference: float
    interval: tuple[float, float]
    p: float


def paired_differences(
    scorer: Scorer,
    *,
    n_resamples: int = 1000,
    n_permutations: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, Difference]:
    """Every metric of two models, whose predictions of row i are the scorer's rows 2i and 2i + 1.

    Interval: the paired percentile bootstrap (Efron 1979), both models scored on the same draws. p:
    the two-sided permutation test (Fisher 1935; Noreen 1989), which swaps the two models'
    predictions of a row by the toss of a coin and counts the differences no smaller than the one
    seen. It asks the metric of the whole, so it is as good for F1 or a correlation as for accuracy.
    Where the scorer has ``groups``, whole groups are drawn, and swapped.
    """
    doubled: Ints | None = getattr(scorer, "groups", None)
    groups = None if doubled is None else doubled[::2]
    every = np.arange(len(scorer) // 2)
    unit = every if groups is None else np.unique(groups, return_inverse=True)[1]
    a, b = scorer(2 * every), scorer(2 * every + 1)

    def gain(rows: ChosenRows, swap: Ints | int = 0) -> list[float]:
        """B's scores on these rows less A's, their predictions swapped where ``swap`` is 1."""
        of_a, of_b = scorer(2 * rows + swap), scorer(2 * rows + 1 - swap)
        return [of_b[name] - of_a[name] for name in a]

    rng = np.random.default_rng(seed)
    seen = gain(every)
    drawn = np.array([gain(rows) for rows in resamples(len(every), groups, n_resamples, rng)])
    tosses = (rng.integers(2, size=unit.max() + 1)[unit] for _ in range(n_permutations))
    swapped = np.array([gain(every, toss) for toss in tosses])
    return {
        name: Difference(
            a=a[name],
            b=b[name],
            difference=seen[i],
            interval=middle(drawn[:, i], level),
            p=_p(swapped[:, i], seen[i]),
        )
        for i, name in enumerate(a)
    }


def clearly_better(one: Scorer, other: Scorer, metric: str, *, n_resamples: int = 200) -> bool:
    """Whether one is ahead of the other in all but the worst 2.5 % of the paired bootstrap's draws
    of their rows, which are the same rows in the same order."""
    draws = resamples(len(one), None, n_resamples, np.random.default_rng(0))
    gains = np.array([one(rows)[metric] - other(rows)[metric] for rows in draws])
    return bool(np.nanquantile(gains, 0.025) > 0) if not np.isnan(gains).all() else False


def _p(swapped: NDArray[np.float64], seen: float) -> float:
    """(k + 1) / (n + 1): what was seen is one of the permutations (Phipson and Smyth 2010)."""
    known = swapped[~np.isnan(swapped)]
    if np.isnan(seen) or not known.size:
        return float("nan")
    as_large = np.count_nonzero(np.abs(known) >= abs(seen) - ROUNDING)
    return (as_large + 1) / (known.size + 1)
